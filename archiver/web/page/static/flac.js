// The frames of a FLAC file, each proven by both of its checksums. Pure: no network, no decoder, no DOM.

import { aimed } from "./aiming.js";

const GRID = 1152; // samples; windows are cut in these
const HEAD = 16; // bytes of the longest header
const BLOCKS = 128; // of metadata; more are no song
const LIMIT = 500_000; // bytes of a frame
const BROKEN = 16; // frames; with more than so many it is left to others
const GAP = 60; // seconds that a file of unknown length may lack at a time
const REST = 4096; // bytes behind the last frame that need not be explained
const RATES = [0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
const BITS = [0, 8, 12, null, 16, 20, 24, 32];

/** The table of a checksum of so many bits. */
function table(polynomial, bits) {
  return Uint16Array.from({ length: 256 }, (_, byte) => {
    let value = byte << (bits - 8);
    for (let turn = 0; turn < 8; turn += 1) value = value & (1 << (bits - 1)) ? (value << 1) ^ polynomial : value << 1;
    return value & ((1 << bits) - 1);
  });
}

const CRC8 = table(0x07, 8);
const CRC16 = table(0x8005, 16);

/** What STREAMINFO tells; null where no player could believe it. */
export function streaminfo(bytes) {
  const word = (at, count) => bytes.subarray(at, at + count).reduce((sum, byte) => sum * 256 + byte, 0);
  const [least, most] = [word(0, 2), word(2, 2)];
  const rate = word(10, 3) >> 4;
  const channels = ((bytes[12] >> 1) & 7) + 1;
  const bits = (((bytes[12] & 1) << 4) | (bytes[13] >> 4)) + 1;
  const limit = Math.max(word(7, 3), Math.ceil((channels * most * (bits + 1)) / 4) + 64); // twice what verbatim takes
  if (rate < 3000 || bits < 4 || least < 16 || most < least || limit > LIMIT) return null;
  const total = (bytes[13] & 15) * 2 ** 32 + word(14, 4);
  return { rate, channels, bits, total, limit, block: most, fixed: least === most, samples: GRID };
}

/** The number that is coded like a letter of UTF-8 at `at`: [number, bytes], or null. */
function numbered(bytes, at) {
  const ones = Math.clz32(~(bytes[at] << 24));
  if (ones === 1 || ones > 7) return null;
  let number = ones === 0 ? bytes[at] : bytes[at] & (0x7f >> ones);
  for (let more = 1; more < ones; more += 1) {
    if ((bytes[at + more] & 0xc0) !== 0x80) return null;
    number = number * 64 + (bytes[at + more] & 0x3f);
  }
  return [number, Math.max(1, ones)];
}

/** The samples of a block, and the bytes behind the number that tell it. */
function sized(bytes, code, at) {
  if (code === 6) return [bytes[at] + 1, 1];
  if (code === 7) return [bytes[at] * 256 + bytes[at + 1] + 1, 2];
  return [code === 1 ? 192 : code < 6 ? 576 << (code - 2) : 256 << (code - 8), 0];
}

/** The rate, and the bytes that tell it. */
function paced(bytes, code, at) {
  if (code === 12) return [bytes[at] * 1000, 1];
  if (code > 12) return [(bytes[at] * 256 + bytes[at + 1]) * (code === 14 ? 10 : 1), 2];
  return [RATES[code], 0];
}

/** The header of a frame of this file at `at`, {at: its first sample, samples, fixed}, or null. */
export function header(bytes, at, info) {
  if (bytes[at] !== 0xff || (bytes[at + 1] & 0xfe) !== 0xf8 || bytes[at + 3] & 1) return null;
  const [code, rated] = [bytes[at + 2] >> 4, bytes[at + 2] & 15];
  const [placed, wide] = [bytes[at + 3] >> 4, BITS[(bytes[at + 3] >> 1) & 7]];
  const number = numbered(bytes, at + 4);
  if (code === 0 || rated === 15 || placed > 10 || number === null) return null;
  const behind = at + 4 + number[1];
  const [samples, one] = sized(bytes, code, behind);
  const [rate, other] = paced(bytes, rated, behind + one);
  const end = behind + one + other;
  if (end >= bytes.length) return null;
  let sum = 0;
  for (let place = at; place < end; place += 1) sum = CRC8[sum ^ bytes[place]];
  const channels = placed < 8 ? placed + 1 : 2;
  const own = (rate || info.rate) === info.rate && (wide || info.bits) === info.bits && channels === info.channels;
  const fixed = (bytes[at + 1] & 1) === 0;
  if (sum !== bytes[end] || !own || wide === null || samples > info.block || (fixed && !info.fixed)) return null;
  return { at: fixed ? number[0] * info.block : number[0], samples, fixed };
}

/** Whether one of the words that tags behind the audio begin with stands there. */
const tagged = (bytes, at) => ["TAG", "ID3", "APE"].includes(String.fromCharCode(...bytes.subarray(at, at + 3)));

export class Flac {
  /** `file`: what is known of the file; `at`: where its metadata go on, or where to look for frames. */
  constructor({ file, at, size }) {
    Object.assign(this, { file, at, size, done: false, delay: 0, warmup: 0, variable: false, until: 0 });
    this.blocks = 0; // of metadata
    this.broken = 0; // frames, and gaps between them
    this.hopeless = false;
    this.sure = file.begin === null; // what is seen next joins what was seen last
    this.starts = []; // of each frame in the file
    this.ends = [];
    this.ats = []; // the first sample of each
    this.counts = []; // and how many
    this.aim = null;
  }

  /** A file's first run; its mark, which the bytes begin with, stands at `at`. Null where its head is not to be believed. */
  static begun(bytes, at, size) {
    const info = bytes.subarray(8, 42);
    const told = info.length === 34 && (bytes[4] & 0x7f) === 0 ? streaminfo(info) : null;
    if (told === null) return null;
    const description = bytes.slice(0, 42);
    description[4] = 0x80; // the last block that the decoder is given
    description.set([0, 0, 34], 5);
    return new Flac({ file: { ...told, description, begin: null, end: null, damaged: false }, at: at + 4, size });
  }

  get head() {
    return this.file;
  }

  get damaged() {
    return this.file.damaged;
  }

  get from() {
    return this.ats[0] ?? 0;
  }

  get config() {
    const { rate, channels, description } = this.file;
    return { codec: "flac", sampleRate: rate, numberOfChannels: channels, description };
  }

  /** As the head tells it, until more is known: it may lie. */
  get length() {
    const { total, begin, end } = this.file;
    if (end !== null) return end;
    if (this.until < total) return total;
    return this.until + Math.round(((this.size - this.at) * this.until) / Math.max(1, this.at - begin));
  }

  wanted(to) {
    const known = this.ats.length > 0;
    const each = known ? (this.at - this.starts[0]) / (this.until - this.from) : 0;
    return Math.ceil(Math.max(0, to - this.until) * each) + this.file.limit + 2 * HEAD;
  }

  /** The frames that hold the samples [from, to), as far as it has them. */
  taken(from, to) {
    const found = [];
    const { starts, ends, ats } = this;
    const first = Math.max(0, ats.findLastIndex((at) => at <= from));
    for (let number = first; number < ats.length && ats[number] < to; number += 1) {
      found.push({ start: starts[number], end: ends[number], at: ats[number], samples: this.counts[number] });
    }
    return found;
  }

  /** The bytes to look at for a sample; none where the head does not tell how many there are. */
  leap(sample, found) {
    return this.file.total === 0 || this.file.begin === null ? null : aimed(this, sample, found, this.file);
  }

  /** The run that begins in the bytes of a leap; null where no frame stands there. */
  landed(bytes, { from }) {
    const run = new Flac({ file: this.file, at: from, size: this.size });
    run.feed(bytes, from, from + bytes.length >= this.size);
    return run.ats.length > 0 && !run.hopeless ? run : null;
  }

  /** Look at the bytes that stand at `offset` of the file; `last`: no more come. */
  feed(bytes, offset, last = false) {
    while (!this.done) {
      const here = this.at - offset;
      const next = this.file.begin === null ? this.#metadata(bytes, here) : this.#frame(bytes, here, last);
      if (next === null) break;
      this.at = offset + next;
      this.done ||= this.at >= this.size || this.blocks > BLOCKS || this.broken > BROKEN;
    }
    if (last) this.done = true;
    if (this.done && this.file.begin !== null) this.#ended();
  }

  #ended() {
    const { file, until } = this;
    this.hopeless = this.broken > BROKEN;
    if (this.hopeless || this.ats.length === 0) return;
    file.end = until;
    file.damaged ||= until < file.total || (this.at > this.ends.at(-1) + REST);
  }

  #metadata(bytes, here) {
    if (here + 4 > bytes.length) return null;
    this.blocks += 1;
    const end = here + 4 + ((bytes[here + 1] << 16) | (bytes[here + 2] << 8) | bytes[here + 3]);
    if (bytes[here] > 127) this.file.begin = this.at + end - here;
    return end;
  }

  #frame(bytes, here, last) {
    const { limit, begin } = this.file;
    if (here >= bytes.length || (!last && here + HEAD > bytes.length)) return null;
    const head = this.#believed(header(bytes, here, this.file));
    if (head === null) return this.#lost(bytes, here);
    const end = behind(bytes, here, { file: this.file, last });
    if (end === null && !last && bytes.length - here < limit + HEAD) return null;
    if (end === null) return this.#lost(bytes, here, true);
    this.#take(head, here, end);
    if (tagged(bytes, end)) this.done = true;
    return end;
  }

  #take(head, here, end) {
    const gap = head.at > this.until && (this.ats.length > 0 || this.at === this.file.begin);
    if (gap) this.broken += 1;
    this.file.damaged ||= gap;
    this.sure = true;
    this.ats.push(head.at);
    this.counts.push(head.samples);
    this.starts.push(this.at);
    this.ends.push(this.at + end - here);
    this.until = head.at + head.samples;
  }

  /** The header, if a frame that it tells of may stand here. */
  #believed(head) {
    if (head === null || head.at < this.until) return null;
    const joins = head.at === this.until && (this.ats.length > 0 || this.sure);
    const most = this.file.total || this.until + GAP * this.file.rate;
    return joins || head.at + head.samples <= most ? head : null;
  }

  #lost(bytes, here, costly = false) {
    if (costly || this.sure) this.broken += 1;
    this.sure = false;
    const next = bytes.indexOf(0xff, here + 1);
    return next < 0 ? bytes.length : next;
  }
}

/** Where the frame ends that begins at `here`: its checksum holds, and behind it stands another, a tag, or nothing. */
function behind(bytes, here, { file, last }) {
  let sum = 0;
  const most = Math.min(bytes.length, here + file.limit);
  for (let at = here; at < most; at += 1) {
    if (sum === 0 && at > here + 6 && (header(bytes, at, file) !== null || tagged(bytes, at))) return at;
    sum = ((sum << 8) & 0xffff) ^ CRC16[(sum >> 8) ^ bytes[at]];
  }
  return sum === 0 && last && most === bytes.length ? most : null;
}
