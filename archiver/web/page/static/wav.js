// The samples of a WAV file: where they lie, and what they are. Pure: no network, no decoder, no DOM.

const CHUNKS = 64; // before the samples; more are no song
const GRID = 1152; // samples; windows are cut in these
const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];
const WIDTHS = { [PCM]: [1, 2, 3, 4], [FLOAT]: [4, 8] }; // bytes of a sample
const RATES = [3000, 384_000];
const CHANNELS = 8;
const UNKNOWN = 0xffffffff; // a size that was not known when the head was written

/** What a `fmt ` chunk tells; null where it is of another kind. */
function format(view, at, length) {
  if (length < 16) return null;
  let kind = view.getUint16(at, true);
  if (kind === EXTENSIBLE && length >= 40) kind = view.getUint16(at + 24, true);
  const [channels, rate] = [view.getUint16(at + 2, true), view.getUint32(at + 4, true)];
  const [each, bits] = [view.getUint16(at + 12, true), view.getUint16(at + 14, true)];
  const width = bits / 8;
  const known = WIDTHS[kind]?.includes(width) && channels > 0 && channels <= CHANNELS && each === channels * width;
  if (!known || rate < RATES[0] || rate > RATES[1]) return null;
  return { rate, channels, samples: GRID, each, width, real: kind === FLOAT };
}

/** What gives the sample at a place as a number: -1 for the least, the others in proportion, as AudioDecoder does. */
function reader(view, { width, real }) {
  if (real) {
    return (at) => {
      const value = Math.fround(width === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true));
      return Number.isFinite(value) ? value : 0; // any other would silence the whole mix for good
    };
  }
  const least = 2 ** (8 * width - 1);
  const whole = {
    1: (at) => view.getUint8(at) - least,
    2: (at) => view.getInt16(at, true),
    3: (at) => view.getUint8(at) + view.getInt16(at + 1, true) * 256,
    4: (at) => view.getInt32(at, true),
  }[width];
  return (at) => whole(at) / least;
}

export class Wav {
  constructor({ size }) {
    Object.assign(this, { size, at: 0, done: false, from: 0, until: 0, delay: 0, head: null, format: null });
    this.warmup = 0;
    this.config = null; // no decoder is needed
    this.chunks = 0;
    this.long = null; // the size of what is larger than 32 bits can tell
  }

  get length() {
    return this.until;
  }

  leap() {
    return null;
  }

  wanted() {
    return 0;
  }

  /** Look at the bytes that stand at `offset` of the file; `last`: no more come. */
  feed(bytes, offset, last = false) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    while (!this.done) {
      const next = this.#step(view, this.at - offset);
      if (next === null) break;
      this.at = offset + next;
    }
    this.done ||= last || this.at >= this.size;
  }

  /** Look at one chunk; the place of the next, or null where more bytes are needed. */
  #step(view, here) {
    if (this.at === 0) return view.byteLength < 12 ? null : 12;
    if (here + 8 > view.byteLength) return null;
    const word = String.fromCharCode(...[0, 1, 2, 3].map((place) => view.getUint8(here + place)));
    const length = view.getUint32(here + 4, true);
    if (word === "data") return this.#found(here + 8, length);
    const needed = { "fmt ": Math.min(length, 40), ds64: 16 }[word] ?? 0;
    if (here + 8 + needed > view.byteLength) return null;
    if (word === "fmt ") this.format = format(view, here + 8, length);
    if (word === "ds64") this.long = Number(view.getBigUint64(here + 16, true));
    this.chunks += 1;
    this.done ||= this.chunks === CHUNKS;
    return here + 8 + length + (length % 2);
  }

  #found(here, told) {
    const begin = this.at + 8;
    const length = told === UNKNOWN && this.long !== null ? this.long : told;
    const most = this.size - begin;
    this.done = true;
    if (this.format === null) return here;
    this.head = this.format;
    this.begin = begin;
    this.damaged = told !== UNKNOWN && told > most; // it is cut
    this.until = Math.floor((length === 0 ? most : Math.min(length, most)) / this.head.each);
    return here;
  }

  /** Where the samples [from, to) lie, as far as there are such. */
  taken(from, to) {
    const end = Math.min(to, this.until);
    const place = (sample) => this.begin + sample * this.head.each;
    return from < end ? [{ start: place(from), end: place(end), at: from, samples: end - from }] : [];
  }

  /** Write what was taken to silent planes, whose samples are those from `from` on. */
  unpacked([{ at, bytes }], from, planes) {
    const { each, width } = this.head;
    const sample = reader(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), this.head);
    const count = Math.min(Math.floor(bytes.length / each), planes[0].length - (at - from));
    for (const [channel, plane] of planes.entries()) {
      for (let number = 0; number < count; number += 1) plane[at - from + number] = sample(number * each + channel * width);
    }
    return planes;
  }
}
