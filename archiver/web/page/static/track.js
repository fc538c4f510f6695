// One stem: its bytes by Range, its frames, and any span of its samples, decoded.

import { Frames, located, mean, preroll } from "./frames.js";

const FIRST = 128 * 1024;
const MOST = 512 * 1024; // of one request
const LEAST = 4096; // more than any frame
const NEAR = 600; // frames that are read through rather than leapt over

export class Unplayable extends Error {}
export class NoFrames extends Unplayable {}

/** Bytes [from, to) of a file; raises Unplayable with words for people. */
export async function ranged(url, from, to, signal) {
  let answer;
  try {
    answer = await fetch(url, { headers: { Range: `bytes=${from}-${to - 1}` }, signal });
    if (answer.status === 206 || (answer.status === 200 && from === 0)) return new Uint8Array(await answer.arrayBuffer());
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Unplayable("the connection broke before all bytes had come");
  }
  const said = (await answer.text().catch(() => "")).slice(0, 300);
  throw new Unplayable(said && !said.startsWith("<") ? said : `the page answered ${answer.status}`);
}

/** Decode frames by WebCodecs: the samples from frame `from` on, one array a channel. Damaged frames are silent. */
export function decoded(config, frames, timed, length, signal) {
  return new Promise((resolve, reject) => {
    const planes = [new Float32Array(length), new Float32Array(length)];
    let [used, damaged] = [1, false];
    const finish = () => {
      signal?.removeEventListener("abort", drop);
      if (decoder.state !== "closed") decoder.close();
      resolve({ planes: planes.slice(0, used), damaged });
    };
    const decoder = new AudioDecoder({
      output: (data) => {
        used = Math.max(used, Math.min(2, data.numberOfChannels));
        place(data, planes, Math.round((data.timestamp * config.sampleRate) / 1e6) - timed.begin);
        data.close();
      },
      error: () => {
        damaged = true;
        finish();
      },
    });
    decoder.configure(config);
    for (const [at, bytes] of frames.entries()) {
      const timestamp = Math.round(((timed.first + at) * timed.samples * 1e6) / config.sampleRate);
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

function place(data, planes, at) {
  const from = Math.max(0, -at);
  const count = Math.min(data.numberOfFrames - from, planes[0].length - Math.max(0, at));
  if (count <= 0) return;
  for (let channel = 0; channel < Math.min(2, data.numberOfChannels); channel += 1) {
    const into = planes[channel].subarray(Math.max(0, at), Math.max(0, at) + count);
    data.copyTo(into, { planeIndex: channel, format: "f32-planar", frameOffset: from, frameCount: count });
  }
}

export class Track {
  constructor({ url, size }) {
    this.url = url;
    this.size = size;
    this.run = new Frames({ size });
    this.leapt = null; // the run around the last seek beyond the index
    this.kept = { at: 0, bytes: new Uint8Array(0) };
    this.damaged = false;
    this.turn = Promise.resolve();
  }

  get head() {
    return this.run.head;
  }

  get delay() {
    return this.run.told?.delay ?? 0;
  }

  /** Samples of the whole stem, as far as known: exact once all of it was read. */
  get length() {
    if (this.head === null) return 0;
    const { run, head } = this;
    if (run.done) return run.end * head.samples;
    const most = this.size / 24;
    if (run.told?.frames) return Math.min(run.told.frames, most) * head.samples;
    const each = run.end ? (run.ends.at(-1) - run.starts[0]) / run.end : head.length;
    return Math.round((this.size - (run.starts[0] ?? 0)) / each) * head.samples;
  }

  /** Read so far that the first frame is known. */
  async open(signal) {
    await this.#alone(() => this.#grown(this.run, 1, signal));
    if (this.head === null || this.run.end === 0) throw new NoFrames("no MP3 frame was found in it");
  }

  /** Samples [from, from + count) of the stem, one array a channel; silence before its begin and behind its end. */
  samples(from, count, signal) {
    return this.#alone(async () => {
      signal?.throwIfAborted(); // a seek came meanwhile
      const { samples, rate } = this.head;
      const first = Math.max(0, Math.floor(from / samples));
      const last = Math.max(first, Math.ceil((from + count) / samples));
      const ahead = Math.max(0, first - preroll(this.head));
      const run = await this.#reach(ahead, last, signal);
      const start = Math.max(ahead, run.first);
      const end = Math.min(last, run.end);
      if (end <= start) return [new Float32Array(count)];
      const parts = await this.#bytes(run, start, end, signal);
      signal?.throwIfAborted();
      const config = { codec: "mp3", sampleRate: rate, numberOfChannels: this.head.channels };
      const { planes, damaged } = await decoded(config, parts, { first: start, samples, begin: from }, count, signal);
      this.damaged ||= damaged;
      return planes;
    });
  }

  /** One after the other: a run is fed in order. */
  #alone(work) {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  /** A run that holds the frames [first, last), or all that there are of them. */
  async #reach(first, last, signal) {
    const { run } = this;
    if (run.done || first <= run.end + NEAR) return this.#grown(run, last, signal);
    const { leapt } = this;
    if (leapt && first >= leapt.first && first <= leapt.end + NEAR) {
      await this.#grown(leapt, last, signal);
    } else if (!run.variable) {
      this.leapt = await this.#leap(first, signal);
      if (this.leapt) await this.#grown(this.leapt, last, signal);
    }
    if (this.leapt && !this.leapt.variable && !run.variable) return this.leapt;
    run.variable ||= Boolean(this.leapt?.variable); // its frames cannot be numbered from their place
    this.leapt = null;
    return this.#grown(run, last, signal);
  }

  async #leap(first, signal) {
    const each = mean(this.run);
    const begin = this.run.starts[0];
    const near = begin + first * each;
    const from = Math.floor(Math.max(0, near - 3 * each));
    if (from >= this.size) return null;
    const bytes = await ranged(this.url, from, Math.min(this.size, Math.ceil(near + 8 * each)), signal);
    return located(bytes, from, { near: near - each, begin, each, size: this.size, head: this.head });
  }

  /** Feed a run until it holds the frames before `last`, or the file ends. */
  async #grown(run, last, signal) {
    let known = true; // what is kept may hold what comes next
    while (!run.done && run.end < last) {
      const from = run.at;
      const kept = known ? this.#piece(from, from + 1) : null;
      const bytes = kept ? this.kept.bytes.subarray(from - this.kept.at) : await this.#next(run, last, signal);
      run.feed(bytes, from, from + bytes.length >= this.size);
      if (!kept) this.#keep(from, bytes);
      if (!kept && run.at === from && !run.done) throw new Unplayable("the store gives less than it was asked for");
      known = run.at !== from;
    }
    return run;
  }

  async #next(run, last, signal) {
    const guess = run.head ? (run.head.length + 1) * (last - run.end + 1) : FIRST;
    const to = Math.min(this.size, run.at + Math.min(MOST, Math.max(LEAST, guess)));
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

  #piece(from, to) {
    const { at, bytes } = this.kept;
    return from >= at && to <= at + bytes.length ? bytes.subarray(from - at, to - at) : null;
  }

  async #bytes(run, start, end, signal) {
    const [from, to] = [run.starts[start - run.first], run.ends[end - 1 - run.first]];
    const block = this.#piece(from, to) ?? (await ranged(this.url, from, to, signal));
    const parts = [];
    for (let frame = start - run.first; frame < end - run.first; frame += 1) {
      parts.push(block.subarray(run.starts[frame] - from, run.ends[frame] - from));
    }
    return parts;
  }
}
