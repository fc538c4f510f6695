// The frames of AAC in ADTS, found as the bytes come. Pure: no network, no decoder, no DOM.
// Nothing tells how many samples the encoder put before the first: stems of one encoder have as many.

import { Frames } from "./frames.js";

const HEAD = 7;
const LOW_COMPLEXITY = 1;
const RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
const CHANNELS = [0, 1, 2, 3, 4, 5, 6, 8]; // 0: the stream tells, where none looks
const SAMPLES = 1024;

/** The header of a frame of one block of AAC-LC at `at`, or null. */
export function header(bytes, at) {
  if (at + HEAD > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xf6) !== 0xf0) return null;
  const rate = RATES[(bytes[at + 2] >> 2) & 15];
  const channels = CHANNELS[((bytes[at + 2] & 1) << 2) | (bytes[at + 3] >> 6)];
  const length = ((bytes[at + 3] & 3) << 11) | (bytes[at + 4] << 3) | (bytes[at + 5] >> 5);
  const least = HEAD + (bytes[at + 1] & 1 ? 0 : 2);
  const known = bytes[at + 2] >> 6 === LOW_COMPLEXITY && (bytes[at + 6] & 3) === 0;
  if (!known || rate === undefined || channels === 0 || length <= least) return null;
  return { rate, channels, length, samples: SAMPLES };
}

export class Adts extends Frames {
  constructor(begun) {
    super(begun);
    this.least = HEAD;
    this.header = header;
    this.variable = true; // any frame may have any length
  }

  same(one, other) {
    return one.rate === other.rate && one.channels === other.channels;
  }

  get config() {
    return { codec: "mp4a.40.2", sampleRate: this.head.rate, numberOfChannels: this.head.channels };
  }

  /** A frame overlaps with the one before, which has its window from the one before that. */
  get warmup() {
    return 2 * SAMPLES;
  }
}
