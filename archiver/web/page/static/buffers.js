// The memory that decoded audio sounds from, used again and again.

/** Give an array's memory back at once: whoever collects garbage does not see how much it is. */
export function release(plane) {
  plane.buffer.transfer?.(0);
}

/** Buffers of `length` samples. Chromium gives one's memory back only by collecting garbage, also where it was transferred. */
export class Buffers {
  #free = [];

  constructor(length, rate) {
    Object.assign(this, { length, rate, made: 0 });
  }

  /** A buffer of these planes, and silence behind them. They are used up. */
  filled(planes) {
    const buffer = this.#taken(planes.length);
    for (const [channel, plane] of planes.entries()) {
      buffer.copyToChannel(plane, channel);
      buffer.getChannelData(channel).fill(0, plane.length);
      release(plane);
    }
    return buffer;
  }

  /** Take buffers back, of which nothing sounds any more. */
  back(buffers) {
    this.#free.push(...buffers);
  }

  #taken(channels) {
    const at = this.#free.findIndex((each) => each.numberOfChannels === channels);
    if (at >= 0) return this.#free.splice(at, 1)[0];
    this.made += 1;
    return new AudioBuffer({ numberOfChannels: channels, length: this.length, sampleRate: this.rate });
  }
}
