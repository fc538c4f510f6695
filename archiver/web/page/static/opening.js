// How the stems of a task can be played here: by windows, whole, or one at a time.

import { planesFor } from "./buffers.js";
import { LESS, NoFrames, Track, Unplayable, ranged } from "./track.js";

const MOST = 400e6; // bytes of decoded audio
const SAMPLE = 4;
const PACKED = 22; // bytes decoded of one that is stored, where nothing better is known: MP3 at 128 kbit/s
const FALLBACK_RATE = 44100;

/** A stem that was decoded whole. */
export class Whole {
  constructor(buffer) {
    this.buffer = buffer;
    this.delay = 0;
    this.damaged = false;
  }

  get length() {
    return this.buffer.length;
  }

  get channels() {
    return Math.min(2, this.buffer.numberOfChannels);
  }

  samples(from, count, _, planes = planesFor(this.channels, count)) {
    const begin = Math.max(0, from);
    const into = planes.slice(0, this.channels).map((plane) => plane.subarray(0, count).fill(0));
    for (const [channel, plane] of into.entries()) {
      plane.set(this.buffer.getChannelData(channel).subarray(begin, Math.max(begin, from + count)), begin - from);
    }
    return Promise.resolve(into);
  }
}

async function decodable(track) {
  const { config } = track.run;
  if (config !== null && typeof AudioDecoder === "undefined") return false;
  const supported = config === null || (await AudioDecoder.isConfigSupported(config).catch(() => ({}))).supported === true;
  return supported && (await track.proven());
}

/** Open each stem's first bytes. Resolves to those that can be played by windows, and the faults of the others. */
async function opened(stems, signal) {
  const tracks = {};
  const faults = {};
  await Promise.all(
    stems.map(async (stem) => {
      const track = new Track(stem);
      try {
        await track.open(signal);
        tracks[stem.name] = track;
      } catch (fault) {
        if (!(fault instanceof Unplayable)) throw fault;
        faults[stem.name] = fault;
      }
    }),
  );
  return { tracks, faults };
}

const estimated = (stem, track) => (track ? track.length * track.head.channels * SAMPLE : stem.size * PACKED);

/** Decode a file whole; the context makes its rate that of all. */
export async function whole(context, stem, signal) {
  const bytes = await ranged(stem.url, 0, stem.size, signal);
  if (bytes.length < stem.size) throw new Unplayable(LESS); // a browser's cache may give the part that it has
  try {
    return new Whole(await context.decodeAudioData(bytes.buffer));
  } catch {
    throw new Unplayable("it is no audio that this browser can play");
  }
}

/** Resolves to {mode, rate, samples, stems, faults}; `mode` is "windows", "whole" or "single".
 *
 * Without `windows` it is one of the others. With "single" there is nothing in `stems` yet: one is decoded when it is chosen.
 */
export async function open(stems, { windows = true, most = MOST, signal } = {}) {
  const { tracks, faults: thrown } = await opened(stems, signal);
  const others = Object.values(thrown).filter((fault) => !(fault instanceof NoFrames));
  if (others.length === stems.length) throw others[0];
  const strange = Object.values(thrown).length > others.length;
  const faults = Object.fromEntries(Object.entries(thrown).map(([name, fault]) => [name, fault.message]));
  const heads = Object.values(tracks).map((track) => track.head);
  const rate = heads[0]?.rate ?? FALLBACK_RATE;
  const alike = heads.length > 0 && heads.every((head) => head.rate === rate);
  if (windows && alike && !strange && (await Promise.all(Object.values(tracks).map(decodable))).every(Boolean)) {
    return { mode: "windows", rate, samples: heads[0].samples, stems: tracks, faults };
  }
  const size = stems.reduce((sum, stem) => sum + estimated(stem, tracks[stem.name]), 0);
  const mode = size <= most ? "whole" : "single";
  return { mode, rate, samples: 1152, stems: {}, faults: {} };
}
