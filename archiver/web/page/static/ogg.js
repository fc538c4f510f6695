// The packets of Opus in Ogg: where they lie, and which samples they hold. Pure: no network, no decoder, no DOM.

import { aimed } from "./aiming.js";

const RATE = 48_000; // of all Opus
const GRID = 960; // samples; windows are cut in these
const HEAD = 27; // bytes of a page's, without its table
const PAGE = HEAD + 255 + 255 * 255;
const LONG = 32_768; // bytes that a page seldom has
const MOST = 5760; // samples of a packet
const BROKEN = 16; // pages; with more than so many it is left to others
const GAP = 60 * RATE; // samples that may be missing at a time
const LASTING = [[480, 960, 1920, 2880], [480, 960, 480, 960], [120, 240, 480, 960]]; // SILK, hybrid, CELT
const [GOES_ON, FIRST, LAST] = [1, 2, 4];

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let turn = 0; turn < 8; turn += 1) value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1;
  return value;
});

const word = (bytes, at, count) => String.fromCharCode(...bytes.subarray(at, at + count));

/** The checksum of a page, in which its own place counts as nothing. */
function checksum(bytes, at, end) {
  let sum = 0;
  for (let place = at; place < end; place += 1) {
    const own = place >= at + 22 && place < at + 26;
    sum = (sum << 8) ^ CRC[(sum >>> 24) ^ (own ? 0 : bytes[place])];
  }
  return sum >>> 0;
}

/** Samples of the packet that begins at `at`; null where it is none. */
export function lasting(bytes, at, length) {
  if (length < 1) return null;
  const config = bytes[at] >> 3;
  const each = LASTING[config < 12 ? 0 : config < 16 ? 1 : 2][config & 3];
  const code = bytes[at] & 3;
  const count = code === 0 ? 1 : code < 3 ? 2 : length > 1 ? bytes[at + 1] & 63 : 0;
  return count > 0 && each * count <= MOST ? each * count : null;
}

/** The page that stands at `at`: null where there is none, undefined where more bytes are needed to tell. */
export function page(bytes, at) {
  if (at + HEAD > bytes.length) return undefined;
  if (word(bytes, at, 4) !== "OggS" || bytes[at + 4] !== 0) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEAD);
  const begin = at + HEAD + bytes[at + 26];
  if (begin > bytes.length) return undefined;
  const sizes = bytes.subarray(at + HEAD, begin);
  const end = begin + sizes.reduce((sum, size) => sum + size, 0);
  if (end > bytes.length) return undefined;
  if (checksum(bytes, at, end) !== view.getUint32(22, true)) return null;
  const granule = Number(view.getBigInt64(6, true));
  return { begin, end, sizes, granule, flags: bytes[at + 5], serial: view.getUint32(14, true) };
}

export class Opus {
  /** `file`: what is known of the file; `at`: where its pages go on, or where to look for one. */
  constructor({ file, at, size }) {
    Object.assign(this, { file, at, size, head: file, done: false, variable: false, until: 0, hopeless: false });
    this.delay = file.skip;
    this.warmup = RATE; // with a second before, samples are those of the whole decode; half of it leaves 1e-7
    this.heads = 0; // packets before the audio that were seen
    this.broken = 0;
    this.sure = file.begin === null; // the page that is seen next follows the last
    this.part = null; // of a packet that goes on in the next page
    this.frames = [];
    this.trim = null; // the samples that there are, as the last page tells
    this.aim = null;
  }

  /** A file's first run; its first page, which the bytes begin with, stands at `at`. Null for all but mono and stereo Opus. */
  static begun(bytes, at, size) {
    const found = page(bytes, 0);
    if (!found || !(found.flags & FIRST) || found.end - found.begin < 19) return null;
    const view = new DataView(bytes.buffer, bytes.byteOffset + found.begin, 19);
    const [channels, gain, family] = [view.getUint8(9), view.getInt16(16, true), view.getUint8(18)];
    const plain = word(bytes, found.begin, 8) === "OpusHead" && view.getUint8(8) < 16 && gain === 0 && family === 0;
    if (!plain || channels < 1 || channels > 2) return null;
    const { serial } = found;
    const told = { rate: RATE, samples: GRID, limit: LONG, channels, serial, skip: view.getUint16(10, true) };
    return new Opus({ file: { ...told, begin: null, end: null, damaged: false }, at, size });
  }

  get damaged() {
    return this.file.damaged;
  }

  get from() {
    return this.frames[0]?.at ?? 0;
  }

  get starts() {
    return this.frames.map((frame) => frame.start);
  }

  get config() {
    return { codec: "opus", sampleRate: RATE, numberOfChannels: this.file.channels };
  }

  get length() {
    const { begin, end } = this.file;
    return end ?? this.until + Math.round(((this.size - this.at) * this.until) / Math.max(1, this.at - begin));
  }

  wanted(to) {
    const each = this.frames.length ? (this.at - this.frames[0].start) / (this.until - this.from) : 0;
    return Math.ceil(Math.max(0, to - this.until) * each) + PAGE;
  }

  taken(from, to) {
    const first = Math.max(0, this.frames.findLastIndex((frame) => frame.at <= from));
    return this.frames.slice(first).filter((frame) => frame.at < to);
  }

  leap(sample, found) {
    if (this.file.begin === null || this.until === 0) return null;
    return aimed(this, sample, found, { ...this.file, total: this.length });
  }

  landed(bytes, { from }) {
    const run = new Opus({ file: this.file, at: from, size: this.size });
    run.feed(bytes, from, from + bytes.length >= this.size);
    return run.frames.length > 0 && !run.hopeless ? run : null;
  }

  /** Look at the bytes that stand at `offset` of the file; `last`: no more come. */
  feed(bytes, offset, last = false) {
    while (!this.done) {
      const here = this.at - offset;
      const found = here < bytes.length ? page(bytes, here) : undefined;
      if (found === undefined && !last) break;
      if (found) this.#page(bytes, found, offset);
      this.at = offset + (found ? found.end : this.#lost(bytes, here));
      this.hopeless ||= this.broken > BROKEN;
      this.done ||= this.hopeless || this.at >= this.size;
    }
    if (!this.done || this.frames.length === 0 || this.hopeless) return;
    this.file.end = Math.min(this.until, this.trim ?? this.until);
    this.file.damaged ||= this.trim === null; // it is cut
  }

  #lost(bytes, here) {
    if (this.sure || word(bytes, here, 4) === "OggS") this.broken += 1;
    this.sure = false;
    this.part = null;
    const next = bytes.indexOf(0x4f, here + 1);
    return next < 0 ? bytes.length : next;
  }

  #page(bytes, found, offset) {
    this.hopeless ||= (found.flags & FIRST) > 0 && this.file.begin !== null; // another song begins
    if (found.serial !== this.file.serial) return;
    const packets = this.#packets(bytes, found, offset);
    if (this.file.begin !== null) this.#placed(packets, found);
    else {
      this.heads += packets.length;
      if (this.heads >= 2) this.file.begin = offset + found.end;
    }
  }

  /** The packets that end in a page, each {start, end, samples}, with its `spans` where others' bytes lie between. */
  #packets(bytes, { begin, sizes, flags }, offset) {
    const ended = [];
    let open = flags & GOES_ON ? this.part : null;
    let skipped = (flags & GOES_ON) > 0 && open === null; // the end of what began where nobody looked
    let at = begin;
    for (const [number, size] of sizes.entries()) {
      const fresh = open === null && !skipped;
      if (fresh) open = { samples: lasting(bytes, at, size), spans: [] };
      if (open && (number === 0 || fresh)) open.spans.push([offset + at, offset + at]);
      at += size;
      if (open) open.spans.at(-1)[1] = offset + at;
      if (size === 255) continue;
      if (open) ended.push({ start: open.spans[0][0], end: offset + at, ...open });
      [open, skipped] = [null, false];
    }
    this.part = open;
    return ended;
  }

  /** Number the samples of packets: they go on from those before, and the page tells where they end. */
  #placed(packets, { granule, flags }) {
    if (packets.length === 0) return;
    if (packets.some((packet) => packet.samples === null)) {
      this.hopeless = true;
      return;
    }
    const sum = packets.reduce((all, packet) => all + packet.samples, 0);
    const last = (flags & LAST) > 0;
    let at = this.sure ? this.until : granule - sum;
    const lacks = granule - sum - at;
    if (!this.sure && (last || at < this.until)) return;
    if (last && lacks < 0) this.trim = Math.max(at, granule);
    else if (last) this.trim = granule;
    if (lacks !== 0 && !(last && lacks < 0)) this.broken += 1;
    if (lacks > 0 && lacks < GAP) at += lacks;
    this.file.damaged ||= (lacks !== 0 && !last) || (this.frames.length > 0 && at > this.until);
    this.sure = true;
    for (const packet of packets) {
      this.frames.push({ ...packet, at });
      at += packet.samples;
    }
    this.until = at;
  }
}
