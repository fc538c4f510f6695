// What finds the samples in a file, by its first bytes. A format's own module is loaded only where a stem needs it.

import { tagged } from "./frames.js";
import { Mp3 } from "./mp3.js";

const WORD = 64; // bytes that tell of a format

const STRANGE = [[4, "ftyp"], [0, "FORM"], [0, "RIFX"], [0, "riff"], [0, "caff"], [0, "\x1aE\xdf\xa3"]];

/** Resolves to what finds them, or null where the file is of a kind that has no such; `more` gives the bytes at a place.
 *
 * Each has: `feed`, `at` and `done` (how far it was looked at); `head` {rate, channels, samples}, once known; `delay` and
 * `length` in samples; `config` and `warmup` (samples to be decoded before) for its decoder, or `unpacked` without one;
 * `from`, `until` and `taken` (which samples it knows, and where they lie); `leap` and `landed` to go far ahead; `trim`, the
 * end, where the last frame has more; `damaged`, and `hopeless` where it gives the file up.
 */
export async function framing(bytes, size, more) {
  const tag = tagged(bytes, 0) ?? 0;
  const place = tag < size ? tag : 0;
  const begin = place + WORD > bytes.length && place < size ? await more(place) : bytes.subarray(place);
  const has = (at, word) => String.fromCharCode(...begin.subarray(at, at + 4)) === word;
  if ((has(0, "RIFF") || has(0, "RF64")) && has(8, "WAVE")) return new (await import("./wav.js")).Wav({ size });
  if (has(0, "fLaC")) return (await import("./flac.js")).Flac.begun(begin, place, size);
  if (has(0, "OggS")) return (await import("./ogg.js")).Opus.begun(begin, place, size);
  if (begin[0] === 0xff && (begin[1] & 0xf6) === 0xf0) return new (await import("./adts.js")).Adts({ size });
  return STRANGE.some(([at, word]) => has(at, word)) ? null : new Mp3({ size });
}
