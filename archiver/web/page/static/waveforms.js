// What the page's server knows of the sound of a task's stems: asked for until all of it was measured.

const EVERY = 3000;
const TRIES = 200;

const unpacked = (text) => new Int8Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

/** Hand `found` each stem's {pairs, seconds, marks, level} as it becomes known, by its name. */
export async function follow(url, found) {
  const once = matchMedia("(prefers-reduced-data: reduce)").matches;
  const known = new Set();
  for (let round = 0; round < (once ? 1 : TRIES); round += 1) {
    if (document.visibilityState === "visible") {
      const { stems, pending } = await asked(url);
      for (const [name, stem] of Object.entries(stems)) {
        if (known.has(name)) continue;
        known.add(name);
        found(name, { ...stem, pairs: unpacked(stem.pairs) });
      }
      if (pending === 0) return;
    }
    await new Promise((go) => setTimeout(go, EVERY));
  }
}

async function asked(url) {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(20_000) });
    if (answer.ok) return await answer.json();
  } catch {
    // the page is away for a moment: the browser makes its own meanwhile
  }
  return { stems: {}, pending: 1 };
}
