// Volume, mute, solo and pan of each stem, and one master with a limiter; for a live context and an offline one alike.

const RAMP = 0.01;
const THRESHOLD = -1;
const RATIO = 20;
const LOOKAHEAD = 0.006; // that a DynamicsCompressorNode delays by
export const SILENT = -60;

export const gainOf = (decibels) => (decibels <= SILENT ? 0 : 10 ** (decibels / 20));
export const latency = (rate) => Math.floor(LOOKAHEAD * rate);

/** Whether a stem is heard: a solo silences all that have none. */
export function heard(stems, name) {
  const solo = Object.values(stems).some((stem) => stem.solo);
  return solo ? stems[name].solo : !stems[name].muted;
}

/** A mix as data: what a link holds, and what is heard. */
export function flat(names) {
  const stems = Object.fromEntries(names.map((name) => [name, { volume: 0, pan: 0, muted: false, solo: false }]));
  return { master: 0, stems };
}

const ROUGH = ["origin", "instrumental", "accompaniment"]; // they hold what the finer stems hold
const VOICE = /^(lead_|main_)?vocals?$/;
const VOICES = /vocal|choir/;

/** Whether each stem is muted by a preset: `all`, `karaoke` or `acappella`. */
export function preset(names, kind) {
  const fine = names.filter((name) => !ROUGH.includes(name));
  const muted = (name) => {
    if (kind === "acappella" && names.some((each) => VOICES.test(each))) return !VOICES.test(name);
    if (kind === "karaoke" && VOICE.test(name)) return true;
    if (!ROUGH.includes(name)) return false;
    if (name === "origin") return names.length > 1;
    return fine.filter((each) => !VOICES.test(each)).length > 0;
  };
  return Object.fromEntries(names.map((name) => [name, muted(name)]));
}

/** The nodes of a mix. `apply` makes them follow it by ramps of 10 ms, which touch no schedule. */
export class Mixer {
  constructor(context, mix) {
    this.context = context;
    this.master = new GainNode(context);
    const limiter = new DynamicsCompressorNode(context, {
      threshold: THRESHOLD, knee: 0, ratio: RATIO, attack: 0.001, release: 0.1,
    });
    const makeup = 10 ** ((-THRESHOLD * (1 - 1 / RATIO) * 0.6) / 20); // that the node adds by itself
    const level = new GainNode(context, { gain: 1 / makeup });
    this.master.connect(limiter).connect(level).connect(context.destination);
    this.inputs = {};
    for (const name of Object.keys(mix.stems)) {
      const gain = new GainNode(context);
      const panner = new StereoPannerNode(context);
      gain.connect(panner).connect(this.master);
      this.inputs[name] = { gain, panner };
    }
    this.apply(mix, 0);
  }

  apply(mix, ramp = RAMP) {
    this.#set(this.master.gain, gainOf(mix.master), ramp);
    for (const [name, stem] of Object.entries(mix.stems)) {
      const { gain, panner } = this.inputs[name];
      this.#set(gain.gain, heard(mix.stems, name) ? gainOf(stem.volume) : 0, ramp);
      this.#set(panner.pan, stem.pan, ramp);
    }
  }

  #set(param, value, ramp) {
    if (ramp === 0) {
      param.value = value;
      return;
    }
    const now = this.context.currentTime;
    param.cancelScheduledValues(now);
    param.setValueAtTime(param.value, now);
    param.linearRampToValueAtTime(value, now + ramp);
  }
}
