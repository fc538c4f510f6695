// Where to look for a sample in a file whose frames tell their own: by its share first, then between what was found.

const BY_SHARE = 3; // looks; from then on each halves the bytes that are left
const CLOSE = 3; // seconds that are read through rather than looked for anew
const LOOK = 65_536;
const LEAST = 64;

/** The bytes {from, to} to look at next; null where `found` (the run of the last look; null at first) will do, or all was seen.
 *
 * `run.aim` keeps what this search knows. `total`: samples of the whole; `begin`: its first frame's place; `limit`: bytes of one.
 */
export function aimed(run, sample, found, { total, begin, limit, rate }) {
  if (found === null) run.aim = { low: [begin, 0], high: [run.size, total], looks: 0 };
  else if (found.from > sample) run.aim.high = [found.starts[0], found.from];
  else if (sample <= found.until + CLOSE * rate || found.done) return null;
  else run.aim.low = [found.at, found.until];
  const { low, high } = run.aim;
  run.aim.looks += 1;
  const share = run.aim.looks > BY_SHARE ? 0.5 : Math.min(1, (sample - low[1]) / Math.max(1, high[1] - low[1]));
  const from = Math.max(low[0], Math.floor(low[0] + share * (high[0] - low[0]) - LOOK / 2));
  return from + LEAST < run.size ? { from, to: Math.min(run.size, from + LOOK + limit) } : null;
}
