// What is drawn of one stem, and its controls.

import { SILENT } from "./mixer.js";
import { draw } from "./peaks.js";

const PAIRS = 2000;

export class Deck {
  constructor(row, stem, changed) {
    Object.assign(this, { row, stem, name: row.dataset.name, share: 1, pairs: null });
    this.file = { name: this.name, url: row.dataset.url, size: Number(row.dataset.size), sha256: row.dataset.sha256 };
    this.canvas = row.querySelector("canvas");
    this.head = row.querySelector(".head");
    this.marks = row.querySelector(".marks");
    this.level = row.querySelector(".level");
    this.measured = false;
    this.mute = row.querySelector(".mute");
    this.solo = row.querySelector(".solo");
    this.volume = row.querySelector(".volume");
    this.pan = row.querySelector(".pan");
    this.mute.addEventListener("click", () => changed.mute(this.name));
    this.solo.addEventListener("click", (event) => changed.solo(this.name, event.altKey));
    this.volume.addEventListener("input", () => changed.level(this.name, "volume", Number(this.volume.value)));
    this.pan.addEventListener("input", () => changed.level(this.name, "pan", Number(this.pan.value)));
    row.querySelector(".wave").addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      changed.sought((event.clientX - box.left) / box.width);
    });
  }

  /** Show the mix as it is. */
  show(isHeard) {
    this.mute.setAttribute("aria-pressed", String(this.stem.muted));
    this.solo.setAttribute("aria-pressed", String(this.stem.solo));
    this.volume.value = this.stem.volume;
    this.volume.setAttribute("aria-valuetext", this.stem.volume <= SILENT ? "off" : `${this.stem.volume} dB`);
    this.pan.value = this.stem.pan;
    const side = this.stem.pan < 0 ? "left" : "right";
    this.pan.setAttribute("aria-valuetext", this.stem.pan ? `${Math.round(Math.abs(this.stem.pan) * 100)} % ${side}` : "middle");
    this.row.classList.toggle("unheard", !isHeard);
    this.paint();
  }

  paint(pairs = this.pairs, share = this.share) {
    this.pairs = pairs;
    this.share = share;
    const colour = getComputedStyle(this.canvas).color;
    draw(this.canvas, pairs ?? new Int8Array(PAIRS), { colour, share: pairs === null ? 1 : share });
  }

  /** Put the playhead at a share of the whole, and the loop's ends where there is one. */
  at(share) {
    this.head.style.setProperty("left", `${(100 * share).toFixed(3)}%`);
  }

  mark(words) {
    if (!this.measured) this.marks.textContent = words.join(" · ");
  }

  /** Show what the server has measured: it goes before what this browser finds. */
  measure({ pairs, marks, level }) {
    this.measured = true;
    this.marks.textContent = marks;
    this.level.textContent = level;
    this.paint(pairs, 1);
  }
}
