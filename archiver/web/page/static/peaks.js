// What a stem looks like: the least and the greatest of each thousandth, kept in this browser by the stem's SHA-256.

const PAIRS = 1000;
const STORE = "peaks";
const DATABASE = "stem-archive";
const QUIET = 0.001; // -60 dB
const FULL = 0.9995;
const CLIPPED = 3; // samples in a row at full scale
const SHORT = 1; // seconds that a stem lacks of the longest

function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Run one request on the kept peaks; null where this browser keeps none (a private window). */
async function kept(mode, ask) {
  try {
    const opened = await database();
    const request = ask(opened.transaction(STORE, mode).objectStore(STORE));
    return await new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result ?? null);
      request.onerror = () => reject(request.error);
    }).finally(() => opened.close());
  } catch {
    return null;
  }
}

export const read = (sha256) => kept("readonly", (store) => store.get(sha256));
export const write = (sha256, peaks) => kept("readwrite", (store) => store.put(peaks, sha256));

/** The peaks of one stem, gathered span by span in any order. */
export class Gathering {
  constructor(length, rate) {
    Object.assign(this, { length, rate, peak: 0, clips: 0, pairs: new Int8Array(2 * PAIRS) });
  }

  add(planes, from) {
    for (const plane of planes) {
      let row = 0;
      for (let at = 0; at < plane.length && from + at < this.length; at += 1) {
        const value = plane[at];
        const size = Math.abs(value);
        if (size > this.peak) this.peak = size;
        row = size >= FULL ? row + 1 : 0;
        if (row === CLIPPED) this.clips += 1;
        const pair = 2 * Math.floor(((from + at) * PAIRS) / this.length);
        const level = Math.max(-127, Math.min(127, Math.round(value * 127)));
        if (level < this.pairs[pair]) this.pairs[pair] = level;
        else if (level > this.pairs[pair + 1]) this.pairs[pair + 1] = level;
      }
    }
  }

  /** What is kept. */
  get result() {
    const { pairs, peak, clips, length, rate } = this;
    return { pairs, peak, clips, seconds: length / rate };
  }
}

/** The marks of a stem in words, `longest` being the seconds of the longest one. */
export function marks({ peak, clips, seconds }, longest) {
  const said = [];
  if (peak < QUIET) said.push("silent");
  if (clips > 0) said.push("clipped");
  if (longest - seconds > SHORT) said.push(`short by ${Math.round(longest - seconds)} s`);
  return said;
}

/** Draw the pairs over a canvas; with `share` below 1 only that part of them is known. */
export function draw(canvas, pairs, { colour, share = 1 }) {
  const scale = globalThis.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colour;
  const step = 3 * scale;
  for (let x = 0; x < width * share; x += step) {
    const [from, to] = [x, Math.min(width, x + step)].map((each) => Math.floor((each * PAIRS) / width));
    let [low, high] = [0, 0];
    for (let pair = from; pair < Math.max(to, from + 1) && pair < PAIRS; pair += 1) {
      low = Math.min(low, pairs[2 * pair]);
      high = Math.max(high, pairs[2 * pair + 1]);
    }
    const top = (height / 2) * (1 - high / 127);
    const tall = Math.max(scale, (height * (high - low)) / 254);
    pen.fillRect(x, top, 2 * scale, tall);
  }
}
