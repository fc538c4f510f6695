// What finds the samples in a file, by its first bytes. A format's own module is loaded only where a stem needs it.

import { Mp3 } from "./mp3.js";

const STRANGE = [[0, "fLaC"], [0, "OggS"], [4, "ftyp"], [0, "FORM"], [0, "RIFX"], [0, "riff"], [0, "caff"], [0, "\x1aE\xdf\xa3"]];

/** Resolves to what finds them, or null where the file is of a kind that has no such.
 *
 * Each has: `feed`, `at` and `done` (how far it was looked at); `head` {rate, channels, samples}, once known; `delay` and
 * `length` in samples; `config` and `warmup` (samples to be decoded before) for its decoder, or `unpacked` without one;
 * `from`, `until` and `taken` (which samples it knows, and where they lie); `leap` and `landed` to go far ahead.
 */
export async function framing(bytes, size) {
  const has = (at, word) => String.fromCharCode(...bytes.subarray(at, at + 4)) === word;
  if ((has(0, "RIFF") || has(0, "RF64")) && has(8, "WAVE")) return new (await import("./wav.js")).Wav({ size });
  return STRANGE.some(([at, word]) => has(at, word)) ? null : new Mp3({ size });
}
