// One stem: its bytes by Range, its frames, and any span of its samples, decoded.

import { planesFor } from "./buffers.js";
import { framing } from "./formats.js";

const FIRST = 48 * 1024;
const MOST = 512 * 1024; // of one request
const LEAST = 4096; // more than any frame
const ON = 64 * 1024; // of a request that reads on, however short windows are
const OPENED = 24 * 1152; // samples that are looked at first, for they tell how regular the frames are
const NEAR = 100 * 1152; // samples that are read through rather than leapt over
const LEAPS = 8;
export const LESS = "the store gives less than it was asked for";

export class Unplayable extends Error {}
export class NoFrames extends Unplayable {}

/** Bytes [from, to) of a file; raises Unplayable with words for people, NoFrames where it is given as a whole alone. */
export async function ranged(url, from, to, signal) {
  let answer;
  try {
    answer = await fetch(url, { headers: { Range: `bytes=${from}-${to - 1}` }, signal });
    if (answer.status === 206 || (answer.status === 200 && from === 0)) return new Uint8Array(await answer.arrayBuffer());
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Unplayable("the connection broke before all bytes had come");
  }
  if (answer.ok) {
    answer.body?.cancel();
    throw new NoFrames("the server gives no parts of files");
  }
  const kind = answer.headers.get("Content-Type") ?? "";
  if (answer.status === 403 && kind.startsWith("text/html")) throw new Unplayable("the page lets this browser in no more: enter it anew");
  const said = kind.startsWith("text/plain") ? (await answer.text().catch(() => "")).slice(0, 300).trim() : "";
  throw new Unplayable(said || `the page answered ${answer.status}`);
}

/** Decode frames {at, bytes} by WebCodecs into silent planes, one a channel: their samples are those from `from` on.
 *
 * Resolves to how many of them were `used`. Damaged frames stay silent.
 */
export function decoded(config, frames, from, planes, signal) {
  return new Promise((resolve, reject) => {
    let [used, damaged, came, rate, copied] = [1, false, 0, 0, null];
    const finish = () => {
      signal?.removeEventListener("abort", drop);
      if (decoder.state !== "closed") decoder.close();
      resolve({ used, damaged, came, rate });
    };
    const decoder = new AudioDecoder({
      output: (data) => {
        used = Math.max(used, Math.min(planes.length, data.numberOfChannels));
        came += data.numberOfFrames;
        rate = data.sampleRate;
        copied = place(data, planes, Math.round((data.timestamp * config.sampleRate) / 1e6) - from, copied);
        data.close();
      },
      error: () => {
        damaged = true;
        finish();
      },
    });
    decoder.configure(config);
    for (const { at, bytes } of frames) {
      const timestamp = Math.round((at * 1e6) / config.sampleRate);
      decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: bytes }));
    }
    const drop = () => {
      if (decoder.state !== "closed") decoder.close(); // a seek waits for its decoder
      reject(signal.reason);
    };
    signal?.addEventListener("abort", drop, { once: true });
    decoder.flush().then(finish, () => {});
  });
}

/** Copy the channels of what was decoded to planes, at a place that may lie before them; by `into`, which is used again. */
function place(data, planes, at, into) {
  const from = Math.max(0, -at);
  const to = Math.min(data.numberOfFrames, planes[0].length - at);
  if (from >= to) return into;
  const copied = into?.length >= data.numberOfFrames ? into : new Float32Array(data.numberOfFrames);
  for (let channel = 0; channel < Math.min(planes.length, data.numberOfChannels); channel += 1) {
    data.copyTo(copied, { planeIndex: channel, format: "f32-planar" });
    planes[channel].set(copied.subarray(from, to), at + from);
  }
  return copied;
}

/** The frames in parts without a gap: a decoder knows of none. */
function unbroken(frames) {
  const parts = [[]];
  for (const frame of frames) {
    const before = parts.at(-1).at(-1);
    if (before && before.at + before.samples !== frame.at) parts.push([]);
    parts.at(-1).push(frame);
  }
  return parts;
}

/** Arrays of bytes as one. */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export class Track {
  constructor({ url, size }) {
    this.url = url;
    this.size = size;
    this.run = null;
    this.leapt = null; // the run around the last seek beyond the index
    this.kept = { at: 0, bytes: new Uint8Array(0) };
    this.damaged = false;
    this.turn = Promise.resolve();
  }

  get head() {
    return this.run?.head ?? null;
  }

  get channels() {
    return Math.min(2, this.head.channels);
  }

  get delay() {
    return this.run.delay;
  }

  /** Samples of the whole stem, as far as known: exact once all of it was read. */
  get length() {
    return this.run.length;
  }

  /** Read so far that the first frames are known. */
  async open(signal) {
    await this.#alone(async () => {
      if (this.size > 0) this.#keep(0, await ranged(this.url, 0, Math.min(this.size, FIRST), signal));
      const more = (at) => ranged(this.url, at, Math.min(this.size, at + LEAST), signal);
      this.run = await framing(this.kept.bytes, this.size, more);
      if (this.run) await this.#grown(this.run, OPENED, signal);
    });
    if (!this.run?.until) throw new NoFrames("no audio was found in it that can be played by windows");
  }

  /** Samples [from, from + count) of the stem, one array a channel; silence before its begin and behind its end.
   *
   * They are written to `planes`, of which those that the stem has channels for are returned.
   */
  samples(from, count, signal, planes = planesFor(this.channels, count)) {
    return this.#alone(async () => {
      signal?.throwIfAborted(); // a seek came meanwhile
      const last = Math.max(0, from + count);
      const ahead = Math.max(0, from - this.run.warmup);
      const run = await this.#reach(ahead, last, signal);
      const frames = await this.#read(run.taken(ahead, last), signal);
      this.#forget(frames, last - run.warmup);
      signal?.throwIfAborted();
      const into = planes.slice(0, this.channels).map((plane) => plane.subarray(0, count).fill(0));
      this.damaged ||= Boolean(run.damaged);
      if (frames.length === 0) return into;
      if (run.config === null) return run.unpacked(frames, from, into);
      const parts = await Promise.all(unbroken(frames).map((part) => decoded(run.config, part, from, into, signal)));
      this.damaged ||= parts.some(({ damaged }) => damaged);
      const behind = (run.trim ?? Infinity) - from; // what the last frame has beyond the end
      for (const plane of into) plane.fill(0, Math.min(count, Math.max(0, behind)));
      return into.slice(0, Math.max(...parts.map(({ used }) => used)));
    });
  }

  /** Whether this browser's decoder makes of the first frames what they tell. */
  async proven(signal) {
    const { config } = this.run;
    if (config === null || config.codec === "mp3") return true; // of that it is known
    const frames = await this.#alone(() => this.#read(this.run.taken(0, 1), signal));
    const [{ samples }] = frames;
    const { damaged, came, rate } = await decoded(config, frames, 0, planesFor(this.channels, samples), signal);
    return !damaged && came === samples && rate === config.sampleRate;
  }

  /** One after the other: a run is fed in order. */
  #alone(work) {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  /** A run that holds the samples [first, last), or all that there are of them. */
  async #reach(first, last, signal) {
    const { run } = this;
    if (run.done || first <= run.until + NEAR) return this.#grown(run, last, signal);
    const { leapt } = this;
    if (leapt && first >= leapt.from && first <= leapt.until + NEAR) {
      await this.#grown(leapt, last, signal);
    } else {
      this.leapt = await this.#leap(first, last, signal);
      if (this.leapt) await this.#grown(this.leapt, last, signal);
    }
    if (this.leapt && !this.leapt.variable && !run.variable) return this.leapt;
    run.variable ||= Boolean(this.leapt?.variable);
    this.leapt = null;
    return this.#grown(run, last, signal);
  }

  /** A run around a sample, by as many looks as its format needs; null where there is no telling. */
  async #leap(sample, last, signal) {
    let found = null;
    for (let looks = 0; looks < LEAPS; looks += 1) {
      const span = this.run.leap(sample, found, last);
      if (span === null) break;
      const bytes = await ranged(this.url, span.from, Math.min(span.to, span.from + MOST), signal);
      this.kept = { at: span.from, bytes };
      found = this.run.landed(bytes, span);
      if (found === null) return null;
    }
    return found !== null && found.from <= sample ? found : null;
  }

  /** Feed a run until it holds the samples before `last`, or the file ends. */
  async #grown(run, last, signal) {
    let known = true; // what is kept may hold what comes next
    while (!run.done && run.until < last) {
      const from = run.at;
      const kept = known ? this.#piece(from, from + 1) : null;
      const bytes = kept ? this.kept.bytes.subarray(from - this.kept.at) : await this.#next(run, last, signal);
      run.feed(bytes, from, from + bytes.length >= this.size);
      if (!kept) this.#keep(from, bytes);
      if (!kept && run.at === from && !run.done) throw new Unplayable(LESS);
      known = run.at !== from;
    }
    if (run.hopeless) throw new NoFrames("too much of it is broken to be played by pieces");
    return run;
  }

  async #next(run, last, signal) {
    const guess = run.head ? run.wanted(last) : 0;
    const to = Math.min(this.size, run.at + Math.min(MOST, Math.max(ON, guess)));
    return await ranged(this.url, run.at, to, signal);
  }

  /** Keep what came, behind what was kept where it joins, of the window under way only. */
  #keep(at, bytes) {
    const { kept } = this;
    const joins = kept.at + kept.bytes.length;
    if (joins < at || kept.at > at) {
      this.kept = { at, bytes };
      return;
    }
    const from = Math.max(kept.at, at - MOST);
    const whole = new Uint8Array(at - from + bytes.length);
    whole.set(kept.bytes.subarray(from - kept.at, at - kept.at));
    whole.set(bytes, at - from);
    this.kept = { at: from, bytes: whole };
  }

  /** Let go of what lies before the frame of a sample, which the next window begins with. */
  #forget(frames, sample) {
    const { at, bytes } = this.kept;
    const last = frames.findLast((frame) => frame.at <= sample);
    const start = last === undefined ? at : last.at + last.samples > sample ? last.start : last.end;
    if (start > at) this.kept = { at: start, bytes: bytes.slice(start - at) };
  }

  /** Bytes [from, to); where they begin in what is kept, more of what follows it is read and kept. */
  async #block(from, to, signal) {
    const end = this.kept.at + this.kept.bytes.length;
    const joins = from >= this.kept.at && from <= end && end - from <= MOST;
    const [at, until] = joins ? [end, Math.min(this.size, Math.max(to, end + ON))] : [from, to];
    this.#keep(at, await ranged(this.url, at, until, signal));
    const piece = this.#piece(from, to);
    if (piece === null) throw new Unplayable(LESS);
    return piece;
  }

  #piece(from, to) {
    const { at, bytes } = this.kept;
    return from >= at && to <= at + bytes.length ? bytes.subarray(from - at, to - at) : null;
  }

  /** Frames with their bytes. */
  async #read(frames, signal) {
    if (frames.length === 0) return [];
    const [from, to] = [frames[0].start, frames.at(-1).end];
    const block = this.#piece(from, to) ?? (await this.#block(from, to, signal));
    const between = ([start, end]) => block.subarray(start - from, end - from);
    return frames.map((frame) => {
      const spans = frame.spans ?? [[frame.start, frame.end]];
      return { ...frame, bytes: spans.length > 1 ? joined(spans.map(between)) : between(spans[0]) };
    });
  }
}
