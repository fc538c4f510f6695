// The frames of an MP3, found as its bytes come. Pure: no network, no decoder, no DOM.

const MPEG1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const RATES = [44100, 48000, 32000];
export const HEAD = 4;
const TAG_HEAD = 10;
const SIDE_END = 36; // where a Xing header begins at the latest, and where VBRI always does
const INFO = 200; // bytes of a first frame that may hold a Xing header with LAME's tag
const RESERVOIR = [511, 255]; // bytes that a frame may borrow: MPEG-1, MPEG-2
const OVERLAP = 2;
export const PREROLL = 10;

/** The header of a layer III frame at `at`, or null. */
export function header(bytes, at) {
  if (at + HEAD > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return null;
  const version = (bytes[at + 1] >> 3) & 3; // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  const entry = bytes[at + 2] >> 4;
  const rated = (bytes[at + 2] >> 2) & 3;
  if (version === 1 || entry === 0 || entry === 15 || rated === 3) return null;
  const first = version === 3;
  const kbits = (first ? MPEG1 : MPEG2)[entry];
  const rate = RATES[rated] >> (first ? 0 : version === 2 ? 1 : 2);
  const channels = (bytes[at + 3] >> 6) === 3 ? 1 : 2;
  const length = Math.floor(((first ? 144000 : 72000) * kbits) / rate) + ((bytes[at + 2] >> 1) & 1);
  const side = first ? (channels === 1 ? 17 : 32) : channels === 1 ? 9 : 17;
  return { version, kbits, rate, channels, length, side, samples: first ? 1152 : 576 };
}

/** Bytes of ID3v2 tags at `at`; null where more bytes are needed to tell. */
export function tagged(bytes, at) {
  if (bytes.length - at < TAG_HEAD) return null;
  if (bytes[at] !== 0x49 || bytes[at + 1] !== 0x44 || bytes[at + 2] !== 0x33) return 0;
  const size = bytes.subarray(at + 6, at + 10);
  if (size.some((part) => part > 127)) return 0;
  const body = (size[0] << 21) | (size[1] << 14) | (size[2] << 7) | size[3];
  return TAG_HEAD + body + (bytes[at + 5] & 0x10 ? TAG_HEAD : 0);
}

/** What a Xing, Info or VBRI header in the first frame tells; null where it holds audio. */
export function info(bytes, at, head) {
  const word = (place) => String.fromCharCode(...bytes.subarray(place, place + 4));
  const number = (place) => new DataView(bytes.buffer, bytes.byteOffset + place, 4).getUint32(0);
  const end = Math.min(bytes.length, at + head.length);
  const vbri = at + SIDE_END;
  if (vbri + 18 <= end && word(vbri) === "VBRI") return { variable: true, frames: number(vbri + 14), delay: 0 };
  const xing = at + HEAD + head.side;
  if (xing + 8 > end || !["Xing", "Info"].includes(word(xing))) return null;
  const flags = number(xing + 4);
  const frames = flags & 1 && xing + 12 <= end ? number(xing + 8) : 0;
  const lame = xing + 8 + (flags & 1) * 4 + (flags & 2) * 2 + (flags & 4) * 25 + (flags & 8) / 2;
  const told = lame + 24 <= end && bytes[lame] >= 0x20;
  const delay = told ? (bytes[lame + 21] << 4) | (bytes[lame + 22] >> 4) : 0;
  return { variable: word(xing) === "Xing", frames, delay };
}

/** Frames that must be decoded before one, so that it sounds as in the whole: it may borrow bytes from those before. */
export function preroll(head) {
  const own = Math.max(1, head.length - HEAD - 2 - head.side);
  return Math.max(PREROLL, Math.ceil(RESERVOIR[head.version === 3 ? 0 : 1] / own) + OVERLAP);
}

const same = (one, other) => one.version === other.version && one.rate === other.rate;

/** An unbroken run of frames, numbered from `first`, that grows as bytes are fed in order. */
export class Frames {
  /** `like`: the header of a frame of this file, where frames were found before. */
  constructor({ at = 0, first = 0, size = Infinity, like = null } = {}) {
    this.at = at; // of the next byte to look at
    this.first = first;
    this.size = size;
    this.head = like;
    this.told = null;
    this.variable = false;
    this.done = at >= size;
    this.starts = []; // of each frame in the file
    this.ends = [];
    this.fresh = like === null; // tags, and a header that holds no audio, are looked for
    this.tags = this.fresh;
    this.sure = false; // the last thing seen was a frame
  }

  get end() {
    return this.first + this.starts.length;
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
    if (here + HEAD > bytes.length) return last ? bytes.length : null;
    const head = header(bytes, here);
    if (head === null || (this.head !== null && !same(head, this.head))) return this.#lost(here);
    const after = here + head.length;
    if (offset + after > this.size || (last && after > bytes.length)) return this.#lost(here); // cut at the end
    const seen = Math.min(after + (this.sure ? 0 : HEAD), this.size - offset);
    if (seen > bytes.length && !last) return null;
    if (!this.sure && after + HEAD <= bytes.length && !this.#follows(bytes, after, head)) return this.#lost(here);
    return this.#take(bytes, here, offset, head);
  }

  #lost(here) {
    this.sure = false;
    return here + 1;
  }

  /** After anything that is no frame, a header counts only if another one, or a tag at the end, follows its frame. */
  #follows(bytes, after, head) {
    const next = header(bytes, after);
    if (next !== null) return same(next, head);
    const word = String.fromCharCode(...bytes.subarray(after, after + 3));
    return word === "TAG" || word === "ID3" || word === "APE";
  }

  #take(bytes, here, offset, head) {
    this.sure = true;
    const told = this.fresh ? info(bytes, here, head) : null;
    this.fresh = false;
    if (told !== null) {
      this.told = told;
      this.variable ||= told.variable;
      return here + head.length;
    }
    if (this.head === null) this.head = head;
    else if (head.kbits !== this.head.kbits) this.variable = true;
    this.starts.push(offset + here);
    this.ends.push(offset + here + head.length);
    return here + head.length;
  }
}

/** Bytes of a frame in the mean, at a constant bit rate: some encoders never pad. */
export function mean(run) {
  const { head, starts, ends } = run;
  const exact = ((head.samples / 8) * 1000 * head.kbits) / head.rate;
  const many = Math.min(starts.length, 2000);
  const padless = many > 50 && starts.slice(0, many).every((start, at) => ends[at] - start === Math.floor(exact));
  return padless ? Math.floor(exact) : exact;
}

/** The run of a file of constant bit rate around a frame that should begin at `near`; null where unsure.
 *
 * `bytes` stand at `offset`; frame 0 begins at `begin`, and a frame has `each` bytes in the mean.
 */
export function located(bytes, offset, { near, begin, each, size, head }) {
  for (let at = Math.max(0, Math.ceil(near - 2 * each) - offset); at < near + 2 * each - offset; at += 1) {
    let [place, agreed] = [at, 0];
    for (; agreed < 3; agreed += 1) {
      const found = header(bytes, place);
      if (found === null || !same(found, head) || found.kbits !== head.kbits) break;
      place += found.length;
    }
    if (agreed < 3) continue;
    const first = Math.round((offset + at - begin) / each);
    return new Frames({ at: offset + at, first, size, like: head });
  }
  return null;
}
