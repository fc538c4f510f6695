// The memory that audio is decoded into and sounds from, used again and again.

/** New planes for `count` samples. */
export const planesFor = (channels, count) => Array.from({ length: channels }, () => new Float32Array(count));

/** Buffers of `length` samples. Chromium gives the memory back that was lent to a decoder or a context only by collecting
 * garbage, also where the array was transferred, and does not see how much that is.
 */
export class Buffers {
  #free = [];

  constructor(length, rate) {
    Object.assign(this, { length, rate, made: 0 });
  }

  /** Resolves to a buffer of the samples [from, from + count) of a stem, and silence behind them. */
  async filled(stem, from, count, signal) {
    const buffer = this.#taken(stem.channels);
    const planes = Array.from({ length: stem.channels }, (_, channel) => buffer.getChannelData(channel));
    try {
      const found = await stem.samples(from, count, signal, planes);
      signal?.throwIfAborted();
      for (const plane of planes) plane.fill(0, count);
      if (found.length === planes.length) return buffer;
      const other = this.#taken(found.length); // not what the stem's head told
      for (const [channel, plane] of planes.slice(0, found.length).entries()) other.copyToChannel(plane, channel);
      this.back([buffer]);
      return other;
    } catch (fault) {
      this.back([buffer]);
      throw fault;
    }
  }

  /** Take buffers back, of which nothing sounds any more. */
  back(buffers) {
    this.#free.push(...buffers.filter((each) => each.length >= this.length));
  }

  /** From now on buffers of `length` samples; the shorter ones are let go. */
  lengthen(length) {
    this.length = length;
    this.#free = [];
  }

  #taken(channels) {
    const at = this.#free.findIndex((each) => each.numberOfChannels === channels);
    if (at >= 0) return this.#free.splice(at, 1)[0];
    this.made += 1;
    return new AudioBuffer({ numberOfChannels: channels, length: this.length, sampleRate: this.rate });
  }
}
