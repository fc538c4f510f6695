// A file of frames that follow each other, each with a header that tells its length, found as the bytes come.
// What MP3 and ADTS share. Pure: no network, no decoder, no DOM.

const TAG_HEAD = 10;

/** Bytes of ID3v2 tags at `at`; null where more bytes are needed to tell. */
export function tagged(bytes, at) {
  if (bytes.length - at < TAG_HEAD) return null;
  if (bytes[at] !== 0x49 || bytes[at + 1] !== 0x44 || bytes[at + 2] !== 0x33) return 0;
  const size = bytes.subarray(at + 6, at + 10);
  if (size.some((part) => part > 127)) return 0;
  const body = (size[0] << 21) | (size[1] << 14) | (size[2] << 7) | size[3];
  return TAG_HEAD + body + (bytes[at + 5] & 0x10 ? TAG_HEAD : 0);
}

/** An unbroken run of frames, numbered from `first`, that grows as bytes are fed in order.
 *
 * A format says what a header is: `header(bytes, at)` gives {length, samples, rate, channels, ...} or null, of the `least`
 * bytes; `same(one, other)` whether both are of one file; `config` and `warmup` what its decoder wants.
 */
export class Frames {
  /** `like`: the header of a frame of this file, where frames were found before. */
  constructor({ at = 0, first = 0, size = Infinity, like = null } = {}) {
    this.at = at; // of the next byte to look at
    this.first = first;
    this.size = size;
    this.head = like;
    this.variable = false; // frames cannot be numbered from their place
    this.delay = 0; // samples before the first that was encoded
    this.done = at >= size;
    this.starts = []; // of each frame in the file
    this.ends = [];
    this.tags = like === null; // they are looked for
    this.sure = false; // the last thing seen was a frame
  }

  /** The number behind that of the last frame. */
  get end() {
    return this.first + this.starts.length;
  }

  /** The samples that it holds: [from, until). */
  get from() {
    return this.first * (this.head?.samples ?? 0);
  }

  get until() {
    return this.end * (this.head?.samples ?? 0);
  }

  /** Samples of the whole file, as far as known: exact once all of it was read. */
  get length() {
    if (this.head === null) return 0;
    if (this.done) return this.until;
    const each = this.starts.length ? (this.ends.at(-1) - this.starts[0]) / this.starts.length : this.head.length;
    return Math.round((this.size - (this.starts[0] ?? 0)) / each) * this.head.samples;
  }

  /** Bytes that probably hold the samples from `until` to `to`. */
  wanted(to) {
    return (this.head.length + 1) * (Math.ceil((to - this.until) / this.head.samples) + 1);
  }

  /** The frames that hold the samples [from, to), as far as it has them: each {start, end, at, samples}, `at` its first. */
  taken(from, to) {
    const { samples } = this.head;
    const found = [];
    const last = Math.min(this.end, Math.ceil(to / samples));
    for (let number = Math.max(this.first, Math.floor(from / samples)); number < last; number += 1) {
      const at = number - this.first;
      found.push({ start: this.starts[at], end: this.ends[at], at: number * samples, samples });
    }
    return found;
  }

  /** The bytes [from, to) to look at for a run around a sample; null where there is no telling. */
  leap() {
    return null;
  }

  /** Look at the bytes that stand at `offset` of the file; `last`: no more come. Bytes before `at` are passed over. */
  feed(bytes, offset, last = false) {
    let here = Math.max(0, this.at - offset);
    while (!this.done && here < bytes.length) {
      const next = this.#step(bytes, here, offset, last);
      if (next === null) break;
      here = next;
    }
    this.at = offset + here;
    if (last || this.at >= this.size) this.done = true;
  }

  #step(bytes, here, offset, last) {
    if (this.tags) {
      const tag = tagged(bytes, here);
      if (tag === null && !last) return null;
      if (tag && offset + here + tag < this.size) return here + tag;
      this.tags = false;
    }
    if (here + this.least > bytes.length) return last ? bytes.length : null;
    const head = this.header(bytes, here);
    if (head === null || (this.head !== null && !this.same(head, this.head))) return this.#lost(here);
    const after = here + head.length;
    if (offset + after > this.size || (last && after > bytes.length)) return this.#lost(here); // cut at the end
    const seen = Math.min(after + (this.sure ? 0 : this.least), this.size - offset);
    if (seen > bytes.length && !last) return null;
    if (!this.sure && after + this.least <= bytes.length && !this.#follows(bytes, after, head)) return this.#lost(here);
    this.sure = true;
    this.take(head, bytes, here, offset);
    return after;
  }

  #lost(here) {
    this.sure = false;
    return here + 1;
  }

  /** After anything that is no frame, a header counts only if another one, or a tag at the end, follows its frame. */
  #follows(bytes, after, head) {
    const next = this.header(bytes, after);
    if (next !== null) return this.same(next, head);
    const word = String.fromCharCode(...bytes.subarray(after, after + 3));
    return word === "TAG" || word === "ID3" || word === "APE";
  }

  /** Note the frame of this header, which stands at `here` of the bytes. */
  take(head, bytes, here, offset) {
    this.head ??= head;
    this.starts.push(offset + here);
    this.ends.push(offset + here + head.length);
  }
}
