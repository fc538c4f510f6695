// All stems of a task together, sample by sample: one clock, windows laid end to end.

import { Buffers } from "./buffers.js";
import { SHALLOW, depth } from "./depth.js";
import { Mixer } from "./mixer.js";

const SHORT = 32; // of the first after a seek, so that it sounds soon; each next is twice as long
const ENOUGH = 0.6; // of what should be decoded, that others may use the decoder
const LEAD = 0.05; // seconds between the first window's decoding and its sound; more where it takes longer to lay
const TICK = 50;
const EDGE = 0.03; // seconds before an empty schedule at which the context is suspended
const STEPS = 20; // speeds are twentieths
const SHORTEST = 0.5; // seconds of a loop

/** Start a buffer on the sample `when`: its first `count` samples, at `speed` twentieths. It is silent behind them. */
export function laid(context, buffer, { when, count, speed = STEPS, into }) {
  const rate = buffer.sampleRate;
  const source = new AudioBufferSourceNode(context, { buffer, playbackRate: speed / STEPS });
  source.connect(into);
  if (speed !== STEPS) source.start(when / rate, 0, count / rate);
  else {
    source.start(when / rate);
    source.stop((when + count + 1) / rate); // by a sample of silence too late rather than too early
  }
  return source;
}

export class Player extends EventTarget {
  #run = null; // what is scheduled, from one seek to the next
  #at = 0; // the sample that was sought while nothing plays

  /** `stems`: name to a track with `samples`, `delay` and `length`, all of one rate. */
  constructor({ stems, rate, samples = 1152, mix, context }) {
    super();
    Object.assign(this, { stems, rate, mix, context, late: 0, loop: null, depth: SHALLOW, speed: STEPS, state: "paused" });
    this.mixer = new Mixer(context, mix);
    this.frame = samples;
    this.buffers = new Buffers(this.depth.frames * samples + 1, rate);
    this.timer = setInterval(() => this.#tick(), TICK);
    this.look = () => this.#tick();
    document.addEventListener("visibilitychange", this.look);
  }

  /** Let go of all that sounds and waits. */
  close() {
    this.#stop();
    clearInterval(this.timer);
    document.removeEventListener("visibilitychange", this.look);
  }

  get length() {
    return Math.max(1, ...Object.values(this.stems).map((stem) => stem.length - stem.delay));
  }

  get duration() {
    return this.length / this.rate;
  }

  /** The sample that sounds now. */
  get sample() {
    const run = this.#run;
    if (run === null || run.segments.length === 0) return this.#at;
    const now = this.context.currentTime * this.rate;
    const segment = run.segments.findLast((each) => each.when <= now) ?? run.segments[0];
    const passed = Math.max(0, Math.min(segment.span, now - segment.when));
    return Math.min(this.length, segment.music + (passed * this.speed) / STEPS);
  }

  /** Seconds that are decoded and laid. */
  get ahead() {
    const run = this.#run;
    if (run === null || run.when === null) return 0;
    return run.when / this.rate - this.context.currentTime;
  }

  /** Whether enough is decoded to leave the decoder to others for a moment. */
  get filled() {
    return this.state === "playing" && (this.#run.next >= this.length || this.ahead >= ENOUGH * this.depth.ahead);
  }

  get position() {
    return this.sample / this.rate;
  }

  play() {
    if (this.state !== "paused") return Promise.resolve();
    return this.#begin(this.sample >= this.length - 1 ? 0 : this.sample);
  }

  pause() {
    this.#at = this.sample;
    this.#stop();
    this.#say("paused");
  }

  seek(seconds) {
    const at = Math.max(0, Math.min(this.length - 1, Math.round(seconds * this.rate)));
    if (this.state !== "paused") return this.#begin(at);
    this.#stop();
    this.#at = at;
    this.#say("paused");
    return Promise.resolve();
  }

  /** Play [from, to) seconds over and over; null: no more. */
  repeat(span) {
    const long = span !== null && span[1] - span[0] >= SHORTEST;
    this.loop = long ? span.map((each) => Math.round(each * this.rate)) : null;
    return this.#again();
  }

  /** The samples that are played over and over, as far as there are such; null: none. */
  get #round() {
    const [from, to] = this.loop ?? [0, 0];
    const end = Math.min(to, this.length);
    return end - from >= SHORTEST * this.rate ? [from, end] : null;
  }

  /** Set the speed in twentieths. */
  pace(speed) {
    this.#at = this.sample;
    this.speed = Math.max(STEPS / 2, Math.min(STEPS * 1.5, Math.round(speed)));
    return this.state === "paused" ? this.seek(this.#at / this.rate) : this.#begin(this.#at);
  }

  remix() {
    this.mixer.apply(this.mix);
  }

  /** Begin again where it is: what was scheduled is no longer what is wanted. */
  #again() {
    return this.state === "paused" ? Promise.resolve() : this.#begin(this.sample);
  }

  #say(state, fault = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, fault } }));
  }

  #stop() {
    const run = this.#run;
    this.#run = null;
    if (run === null) return;
    run.abort.abort();
    if (run.stalled) this.context.resume();
    for (const { sources } of run.segments) for (const source of sources) source.stop();
  }

  async #begin(at) {
    this.#stop();
    const skip = Math.round(at) % this.frame;
    const run = { abort: new AbortController(), next: Math.round(at), skip, frames: SHORT, when: null, full: false, segments: [], busy: true };
    this.#run = run;
    this.#at = at;
    this.#say("loading");
    try {
      const window = await this.#decoded(run);
      await this.context.resume();
      if (this.#run !== run) return this.#dropped(window);
      this.#schedule(run, window);
      this.#say("playing");
      this.#tick();
    } catch (fault) {
      this.#failed(run, fault);
    }
  }

  #failed(run, fault) {
    if (this.#run !== run) return;
    this.#at = this.sample;
    this.#stop();
    this.#say("paused", fault);
  }

  /** The next window of every stem, all from the same sample. */
  async #decoded(run) {
    const from = run.next;
    const whole = run.frames * this.frame - run.skip;
    let count = whole;
    const loop = this.#round;
    if (loop && from < loop[1]) count = Math.min(count, loop[1] - from);
    else if (this.speed !== STEPS) count = Math.max(this.speed, count - (count % this.speed));
    const more = this.speed === STEPS ? 0 : 1; // for the step to the next window
    const window = { from, count, buffers: {} };
    const begun = performance.now();
    const { signal } = run.abort;
    try {
      const work = Object.entries(this.stems).map(async ([name, stem]) => {
        window.buffers[name] = await this.buffers.filled(stem, from + stem.delay, count + more, signal);
      });
      await Promise.all(work);
    } catch (fault) {
      run.abort.abort();
      this.#dropped(window);
      throw fault;
    }
    const took = (performance.now() - begun) / 1000;
    if (run.when !== null) this.#deepen({ took, sounds: (whole * STEPS) / this.speed / this.rate }); // a loop's end cuts windows short
    return window;
  }

  /** Have longer windows and more ahead from now on, where what was seen calls for it. */
  #deepen(seen) {
    const before = this.depth;
    this.depth = depth(before, seen);
    if (this.depth !== before) this.buffers.lengthen(this.depth.frames * this.frame + 1);
  }

  #dropped({ buffers }) {
    this.buffers.back(Object.values(buffers));
  }

  /** Lay a window behind the one before; false: that came too late, and it begins a lead from now. */
  #schedule(run, window) {
    const { context, rate, speed } = this;
    const { from, count } = window;
    let sources = run.when === null ? null : this.#together(run, window);
    const timely = sources !== null;
    for (let lead = LEAD; sources === null; lead *= 2) {
      run.when = Math.ceil((context.currentTime + lead) * rate);
      sources = this.#together(run, window);
    }
    for (const source of sources) source.onended = () => this.buffers.back([source.buffer]);
    const span = Math.round((count * STEPS) / speed);
    const now = context.currentTime * rate;
    run.segments = run.segments.filter((each) => each.when + each.span > now - rate);
    run.segments.push({ when: run.when, music: from, count, span, sources });
    run.when += span;
    const loop = this.#round;
    run.next = loop && from < loop[1] && from + count >= loop[1] ? loop[0] : from + count;
    run.skip = 0;
    run.frames = Math.min(this.depth.frames, 2 * run.frames);
    run.busy = false;
    return timely;
  }

  /** Start every stem of a window on one sample; null, and none of them, where that lies ahead no more. */
  #together(run, { count, buffers }) {
    const { context, rate, speed } = this;
    const { when } = run;
    const gone = () => when < (context.currentTime + (run.stalled ? 0 : EDGE / 2)) * rate;
    if (gone()) return null;
    const lay = ([name, buffer]) => laid(context, buffer, { when, count, speed, into: this.mixer.inputs[name].gain });
    const sources = Object.entries(buffers).map(lay);
    if (!gone()) return sources;
    for (const source of sources) source.stop();
    return null;
  }

  #tick() {
    const run = this.#run;
    if (run === null || run.when === null) return;
    const { ahead } = this;
    if (run.next >= this.length) {
      if (ahead <= 0 || this.sample >= this.length) this.#ended();
      return;
    }
    if (ahead >= this.depth.ahead) run.full = true;
    else if (!run.busy) this.#more(run);
    if (run.full) this.#deepen({ left: ahead });
    if (run.busy && ahead < EDGE && !run.stalled) this.#stall(run);
  }

  #ended() {
    this.#stop();
    this.#at = 0;
    this.#say("paused");
  }

  async #more(run) {
    run.busy = true;
    try {
      const window = await this.#decoded(run);
      if (this.#run !== run) return this.#dropped(window);
      await run.stalled;
      if (!this.#schedule(run, window) && !run.stalled) this.late += 1;
      if (!run.stalled) return this.#tick();
      run.stalled = null;
      await this.context.resume();
      this.#say("playing");
    } catch (fault) {
      if (run.stalled) await this.context.resume();
      this.#failed(run, fault);
    }
  }

  /** Nothing is left to play: stand still rather than let one stem lag. */
  #stall(run) {
    this.late += 1;
    run.stalled = this.context.suspend();
    this.#say("loading");
  }
}
