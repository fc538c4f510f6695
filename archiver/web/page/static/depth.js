// How long windows are, and how far ahead they are decoded. Pure: no audio, no clock.

/** `frames` of a window and `ahead`, the seconds that are decoded: what a quick machine needs, and what any other gets. */
export const SHALLOW = { frames: 64, ahead: 5 };
export const DEEP = { frames: 190, ahead: 10 };
const LOAD = 0.5; // of the time that a window sounds: what its making may take
const RESERVE = 0.5; // of what should be ahead: what may be left of it

/** The depth from now on: deep for good once a window `took` too long for the seconds that it `sounds`, or little was `left`
 * ahead where there had been enough; both long before one is late.
 */
export function depth(now, { took = 0, sounds = Infinity, left = Infinity }) {
  return took > LOAD * sounds || left < RESERVE * now.ahead ? DEEP : now;
}
