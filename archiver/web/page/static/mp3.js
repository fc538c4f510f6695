// The frames of an MP3, found as its bytes come. Pure: no network, no decoder, no DOM.

import { Frames } from "./frames.js";

const MPEG1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const RATES = [44100, 48000, 32000];
const HEAD = 4;
const SIDE_END = 36; // where a Xing header begins at the latest, and where VBRI always does
const RESERVOIR = [511, 255]; // bytes that a frame may borrow: MPEG-1, MPEG-2
const OVERLAP = 2;
const PREROLL = 10;
const TELLING = 20; // frames of which one is padded, if any is, whatever the rate

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

export class Mp3 extends Frames {
  constructor(begun) {
    super(begun);
    this.least = HEAD;
    this.header = header;
    this.told = null;
    this.fresh = this.head === null; // a header that holds no audio may come
  }

  same(one, other) {
    return one.version === other.version && one.rate === other.rate;
  }

  get config() {
    return { codec: "mp3", sampleRate: this.head.rate, numberOfChannels: this.head.channels };
  }

  get warmup() {
    return preroll(this.head) * this.head.samples;
  }

  /** As a header before the audio tells it, until more is known: it may lie. */
  get length() {
    const told = Math.min(this.told?.frames ?? 0, this.size / 24) * this.head?.samples;
    return !this.done && told > this.until ? told : super.length;
  }

  take(head, bytes, here, offset) {
    const told = this.fresh ? info(bytes, here, head) : null;
    this.fresh = false;
    if (told !== null) {
      this.told = told;
      this.delay = told.delay;
      this.variable ||= told.variable;
      return;
    }
    if (this.head !== null && head.kbits !== this.head.kbits) this.variable = true;
    super.take(head, bytes, here, offset);
  }

  /** Where to look for the frame of a sample, and for those up to `last`. */
  leap(sample, found, last = sample) {
    if (this.variable || found !== null || this.starts.length < TELLING) return null;
    const each = mean(this);
    const near = this.starts[0] + Math.floor(sample / this.head.samples) * each;
    const from = Math.floor(Math.max(0, near - 3 * each));
    const to = Math.ceil(near + (8 + (last - sample) / this.head.samples) * each);
    return from >= this.size ? null : { from, to: Math.min(this.size, to), near: near - each };
  }

  /** The run that begins in the bytes of a leap; null where unsure. */
  landed(bytes, { from, near }) {
    return located(bytes, from, { near, begin: this.starts[0], each: mean(this), size: this.size, head: this.head });
  }
}

/** Bytes of a frame in the mean, at a constant bit rate: some encoders never pad. */
export function mean(run) {
  const { head, starts, ends } = run;
  const exact = ((head.samples / 8) * 1000 * head.kbits) / head.rate;
  const many = Math.min(starts.length, 2000);
  const padless = starts.slice(0, many).every((start, at) => ends[at] - start === Math.floor(exact));
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
      if (found === null || found.version !== head.version || found.rate !== head.rate || found.kbits !== head.kbits) break;
      place += found.length;
    }
    if (agreed < 3) continue;
    const first = Math.round((offset + at - begin) / each);
    return new Mp3({ at: offset + at, first, size, like: head });
  }
  return null;
}
