// The mix as it is heard, as a WAV file: rendered in windows, so that no song is too long.

import { Buffers } from "./buffers.js";
import { Mixer, heard, latency } from "./mixer.js";
import { laid } from "./player.js";

const PIECE = 20; // seconds that are rendered at a time
const BEFORE = 1; // seconds that the limiter hears before
const CHANNELS = 2;
const HEAD = 44;

/** The head of a WAV file: PCM, 16 bits; raises an error where it cannot tell so many samples. */
export function head(samples, rate) {
  const size = samples * CHANNELS * 2;
  if (HEAD - 8 + size > 0xffffffff) throw new Error("it is longer than a WAV file can be");
  const view = new DataView(new ArrayBuffer(HEAD));
  const word = (at, text) => [...text].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, HEAD - 8 + size, true);
  word(8, "WAVEfmt ");
  for (const [at, value] of [[16, 16], [24, rate], [28, rate * CHANNELS * 2], [40, size]]) view.setUint32(at, value, true);
  for (const [at, value] of [[20, 1], [22, CHANNELS], [32, CHANNELS * 2], [34, 16]]) view.setUint16(at, value, true);
  word(36, "data");
  return view.buffer;
}

function packed(buffer, from, count) {
  const out = new Int16Array(count * CHANNELS);
  for (let channel = 0; channel < CHANNELS; channel += 1) {
    const plane = buffer.getChannelData(channel);
    for (let at = 0; at < count; at += 1) {
      const value = Math.max(-1, Math.min(1, plane[from + at]));
      out[at * CHANNELS + channel] = Math.round(value * 32767);
    }
  }
  return out;
}

/** Render samples [from, from + count) of the mix. */
async function piece({ stems, mix, rate }, buffers, from, count, signal) {
  const begin = Math.max(0, from - BEFORE * rate);
  const length = from - begin + count + latency(rate);
  const context = new OfflineAudioContext(CHANNELS, length, rate);
  const mixer = new Mixer(context, mix);
  const work = Object.entries(stems).map(async ([name, stem]) => {
    if (!heard(mix.stems, name)) return [];
    const buffer = await buffers.filled(stem, begin + stem.delay, length, signal);
    laid(context, buffer, { when: 0, count: length, into: mixer.inputs[name].gain });
    return [buffer];
  });
  const used = await Promise.all(work);
  const rendered = await context.startRendering();
  buffers.back(used.flat());
  return packed(rendered, from - begin + latency(rate), count);
}

/** Resolves to a Blob; `told` gets the share that is done. */
export async function rendered(player, told = () => {}, signal = undefined) {
  const { length, rate } = player;
  const parts = [head(length, rate)];
  const buffers = new Buffers((BEFORE + PIECE) * rate + latency(rate), rate);
  for (let from = 0; from < length; from += PIECE * rate) {
    parts.push(await piece(player, buffers, from, Math.min(PIECE * rate, length - from), signal));
    told(Math.min(1, (from + PIECE * rate) / length));
  }
  return new Blob(parts, { type: "audio/wav" });
}
