// The mix in the fragment of the address: `#t=62.5&m=bass,origin&s=vocal&v.drums=-6&p.drums=0.5&g=-3&ab=10-20&x=1.25`.

import { SILENT } from "./mixer.js";

const LOUDEST = 6;
const LONGEST = 1e6; // seconds
const between = (least, most, value) => Math.max(least, Math.min(most, value));
const number = (text, least, most, otherwise = 0) => {
  const told = Number(text || "none");
  return Number.isFinite(told) ? between(least, most, told) : otherwise;
};

export function written({ mix, seconds, loop, speed }) {
  const parts = [];
  const listed = (key, which) => {
    const names = Object.keys(mix.stems).filter((name) => mix.stems[name][which]);
    if (names.length > 0) parts.push(`${key}=${names.map(encodeURIComponent).join(",")}`);
  };
  if (seconds > 0) parts.push(`t=${seconds.toFixed(1)}`);
  listed("m", "muted");
  listed("s", "solo");
  for (const [name, stem] of Object.entries(mix.stems)) {
    if (stem.volume) parts.push(`v.${encodeURIComponent(name)}=${stem.volume}`);
    if (stem.pan) parts.push(`p.${encodeURIComponent(name)}=${stem.pan}`);
  }
  if (mix.master) parts.push(`g=${mix.master}`);
  if (loop) parts.push(`ab=${loop.map((each) => each.toFixed(2)).join("-")}`);
  if (speed !== 1) parts.push(`x=${speed}`);
  return parts.join("&");
}

/** Put what a fragment says into `mix`; return the rest, or null where it says nothing. Whatever is strange is nothing. */
export function taken(fragment, mix) {
  const said = new URLSearchParams(fragment.replaceAll("+", "%2B"));
  if ([...said].length === 0) return null;
  for (const [name, stem] of Object.entries(mix.stems)) {
    stem.muted = (said.get("m") ?? "").split(",").includes(name);
    stem.solo = (said.get("s") ?? "").split(",").includes(name);
    stem.volume = number(said.get(`v.${name}`), SILENT, LOUDEST);
    stem.pan = number(said.get(`p.${name}`), -1, 1);
  }
  mix.master = number(said.get("g"), SILENT, LOUDEST);
  const ends = (said.get("ab") ?? "").split("-").map((each) => number(each, 0, LONGEST, Number.NaN));
  const loop = ends.length === 2 && ends[0] < ends[1] ? ends : null;
  return { seconds: number(said.get("t"), 0, LONGEST), loop, speed: number(said.get("x"), 0.5, 1.5, 1) };
}
