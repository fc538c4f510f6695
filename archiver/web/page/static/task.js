// The player of one task: its controls, its keys, and what it says.

import { planesFor } from "./buffers.js";
import { Deck } from "./deck.js";
import { rendered } from "./mixdown.js";
import { flat, heard, preset } from "./mixer.js";
import { taken, written } from "./mixlink.js";
import { open, whole } from "./opening.js";
import { NoFrames } from "./track.js";
import { Gathering, marks, read, write } from "./peaks.js";
import { Player } from "./player.js";
import { follow } from "./waveforms.js";

const STEP = 5; // seconds of the arrow keys
const LINKED = 1000; // ms from one address to the next
const LOOKED = 190; // frames that are looked at for a waveform in one turn
const REST = 4; // times as long as such a turn took, until the next
const WHY =
  "This browser lacks AudioDecoder, or the stems differ in their rate, or one is of a kind that is not played by pieces, or the server gives no parts of files";
const WORDS = {
  whole: `${WHY}: each is decoded whole before it plays.`,
  single: `${WHY}, and together they are too large to decode: one stem plays at a time. Choose it by S.`,
};
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

class Desk {
  constructor(root) {
    this.root = root;
    const rows = [...root.querySelectorAll(".stem[data-url]")];
    this.mix = flat(rows.map((row) => row.dataset.name));
    this.names = Object.keys(this.mix.stems);
    this.#mute("all");
    this.wanted = taken(location.hash.slice(1), this.mix) ?? { seconds: 0, loop: null, speed: 1 };
    this.marked = null; // where a loop begins that has no end yet
    this.decks = rows.map((row) => new Deck(row, this.mix.stems[row.dataset.name], this));
    for (const name of ["play", "loop", "speed", "master", "position", "mixdown", "time", "whole", "said"]) {
      this[name] = root.querySelector(`#${name}`);
    }
    this.#listen();
    this.known = {};
    this.#recall();
    if (root.dataset.waveforms) follow(root.dataset.waveforms, (name, sound) => this.#measured(name, sound));
    this.show();
    for (const each of root.querySelectorAll("[data-scripted]")) each.hidden = false;
    for (const each of root.querySelectorAll("[data-alone]")) each.remove(); // what plays without this
    for (const deck of this.decks) deck.paint();
  }

  // -- controls ---------------------------------------------------------------

  #listen() {
    this.play.addEventListener("click", () => this.toggle());
    this.loop.addEventListener("click", () => this.looped());
    this.speed.addEventListener("change", () => this.paced(Number(this.speed.value)));
    this.master.addEventListener("input", () => this.changed(() => (this.mix.master = Number(this.master.value))));
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    this.mixdown.addEventListener("click", () => this.#download());
    for (const button of this.root.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => this.changed(() => this.#mute(button.dataset.preset)));
    }
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("resize", () => this.decks.forEach((deck) => deck.paint()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
  }

  #key(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    const acts = { ArrowLeft: () => this.skip(-STEP), ArrowRight: () => this.skip(STEP), KeyL: () => this.looped() };
    let act = event.shiftKey ? undefined : acts[event.code];
    if (event.code === "Space" && !target.closest("button, a, summary")) act = () => this.toggle();
    const name = digit && this.names[Number(digit[1]) - 1];
    if (name) act = () => (event.shiftKey ? this.mute(name) : this.solo(name, false));
    if (act === undefined) return;
    event.preventDefault();
    if (!event.repeat || event.code.startsWith("Arrow")) act();
  }

  changed(change) {
    change();
    this.player?.remix();
    this.show();
    this.#link();
  }

  mute(name) {
    this.changed(() => (this.mix.stems[name].muted = !this.mix.stems[name].muted));
  }

  solo(name, alone) {
    const stems = this.mix.stems;
    const single = alone || this.mode === "single";
    this.changed(() => {
      const on = single ? true : !stems[name].solo;
      if (single) for (const each of this.names) stems[each].solo = false;
      stems[name].solo = on;
    });
    if (this.mode === "single" && (this.player || this.opening)) this.#waited(this.#choose()).catch((fault) => this.#failed(fault));
  }

  level(name, which, value) {
    this.changed(() => (this.mix.stems[name][which] = value));
  }

  #mute(kind) {
    for (const [name, muted] of Object.entries(preset(this.names, kind))) {
      Object.assign(this.mix.stems[name], { muted, solo: false });
    }
  }

  looped() {
    const here = this.player ? this.player.position : this.wanted.seconds;
    if (this.wanted.loop) this.wanted.loop = this.marked = null;
    else if (this.marked === null) this.marked = here;
    else {
      this.wanted.loop = [this.marked, here].toSorted((one, other) => one - other);
      this.marked = null;
    }
    this.player?.repeat(this.wanted.loop);
    if (this.player && !this.player.loop) this.wanted.loop = null;
    this.show();
    this.#link();
  }

  paced(speed) {
    this.wanted.speed = speed;
    this.player?.pace(Math.round(speed * 20));
    this.#link();
  }

  skip(seconds) {
    this.seek((this.player ? this.player.position : this.wanted.seconds) + seconds);
  }

  sought(share) {
    if (this.player) this.seek(share * this.player.duration);
  }

  seek(seconds) {
    this.wanted.seconds = Math.max(0, seconds);
    return this.player?.seek(seconds);
  }

  // -- playing ----------------------------------------------------------------

  async toggle() {
    if (this.player && this.player.state !== "paused") return this.player.pause();
    try {
      this.tell("");
      await this.#opened();
      await this.player?.play();
    } catch (fault) {
      this.#failed(fault);
    }
  }

  /** Resolves once there is what plays. */
  #opened() {
    return this.player ? Promise.resolve() : (this.opening ?? this.#waited(this.#open()));
  }

  /** Let work be what is waited for before anything plays. */
  #waited(work) {
    const mine = work.finally(() => {
      if (this.opening === mine) this.opening = null;
    });
    this.opening = mine;
    return mine;
  }

  async #open() {
    this.#state("loading");
    const found = await open(this.decks.map((deck) => deck.file), { windows: !this.gaveUp });
    if (this.context?.state !== "closed") await this.context?.close();
    this.mode = this.root.dataset.mode = found.mode;
    this.context = new AudioContext({ sampleRate: found.rate });
    if (found.mode === "whole") await this.#decodeAll(found);
    this.found = found;
    if (found.mode === "single") await this.#choose();
    else this.#ready(found.stems);
    const silent = Object.entries(found.faults).map(([name, fault]) => `${name} cannot be heard: ${fault}.`);
    this.tell([WORDS[found.mode] ?? "", ...silent].join(" ").trim());
  }

  async #decodeAll(found) {
    for (const { file } of this.decks) {
      try {
        found.stems[file.name] = await whole(this.context, file);
      } catch (fault) {
        found.faults[file.name] = fault.message;
      }
    }
  }

  /** One at a time: decode the stem that is solo, and let go of the one before. Another choice meanwhile goes before it. */
  async #choose() {
    const name = this.names.find((each) => this.mix.stems[each].solo) ?? this.names[0];
    const choice = (this.choice = {});
    this.#leave();
    this.mix.stems[name].solo = true;
    this.#state("loading");
    const deck = this.decks.find((each) => each.name === name);
    const stem = await whole(this.context, deck.file).catch((fault) => {
      if (this.choice === choice) throw fault;
    });
    if (this.choice !== choice) return this.opening;
    this.#ready({ [name]: stem });
    this.show();
    if (this.going) await this.player.play();
  }

  /** Let go of what plays, and keep in mind where it was, and whether it went on. */
  #leave() {
    if (!this.player) return;
    this.wanted.seconds = this.player.position;
    this.going = this.player.state !== "paused";
    this.player.close();
    this.player = null;
  }

  #ready(stems) {
    if (Object.keys(stems).length === 0) throw new Error("none of its stems can be heard");
    const { rate, samples } = this.found ?? { rate: this.context.sampleRate, samples: 1152 };
    this.player = new Player({ stems, rate, samples, mix: this.mix, context: this.context });
    this.player.addEventListener("state", ({ detail }) => this.#state(detail.state, detail.fault));
    this.player.seek(this.wanted.seconds);
    this.player.pace(Math.round(this.wanted.speed * 20));
    this.player.repeat(this.wanted.loop);
    this.#session();
    this.#follow();
    this.#gather();
  }

  #state(state, fault = null) {
    this.root.dataset.state = state;
    this.root.dataset.late = String(this.player?.late ?? 0);
    const going = state !== "paused";
    this.play.setAttribute("aria-label", going ? "Pause" : "Play");
    this.play.querySelector(".sign").textContent = state === "loading" ? "…" : going ? "❚❚" : "▶";
    if (navigator.mediaSession) navigator.mediaSession.playbackState = going ? "playing" : "paused";
    if (fault) this.#failed(fault);
    this.#link();
  }

  /** A stem turned out to be what cannot be played by windows: go on with all of them decoded whole. */
  async #giveUp() {
    this.gaveUp = true;
    this.#leave();
    try {
      await this.#opened();
      await this.player?.play();
    } catch (fault) {
      this.#failed(fault);
    }
  }

  #failed(fault) {
    if (fault instanceof NoFrames && this.mode === "windows" && !this.gaveUp) return this.#giveUp();
    this.#state("paused");
    this.tell(`It cannot be heard just now: ${fault.message}. Press play to try again.`);
  }

  tell(words) {
    this.said.textContent = words;
  }

  #session() {
    if (!navigator.mediaSession) return;
    navigator.mediaSession.metadata = new MediaMetadata({ title: this.root.dataset.title });
    const acts = {
      play: () => this.root.dataset.state === "paused" && this.toggle(),
      pause: () => this.player?.pause(),
      seekbackward: () => this.skip(-STEP),
      seekforward: () => this.skip(STEP),
      seekto: ({ seekTime }) => this.seek(seekTime),
    };
    for (const [name, act] of Object.entries(acts)) navigator.mediaSession.setActionHandler(name, act);
  }

  // -- what is shown ----------------------------------------------------------

  show() {
    for (const deck of this.decks) deck.show(heard(this.mix.stems, deck.name));
    this.master.value = this.mix.master;
    this.speed.value = String(this.wanted.speed);
    const { loop } = this.wanted;
    this.loop.setAttribute("aria-pressed", String(loop !== null));
    this.loop.textContent = loop ? `Loop ${loop.map(clock).join("–")}` : this.marked !== null ? `Loop ${clock(this.marked)}–…` : "Loop A–B";
  }

  #follow() {
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    let [told, drawn] = ["", ""];
    const frame = () => {
      requestAnimationFrame(frame);
      if (!this.player) return; // another is on its way
      const { position, duration } = this.player;
      const words = `${clock(position)} of ${clock(duration)}`;
      if (words !== told) this.#told(words);
      told = words;
      const at = still.matches ? Math.floor(position) : position;
      const pixels = Math.floor((at / duration) * this.decks[0].canvas.width); // a frame drawn is dear, also where nothing moves
      if (`${pixels} ${duration}` !== drawn) {
        drawn = `${pixels} ${duration}`;
        Object.assign(this.position, { max: duration, value: at });
        for (const deck of this.decks) deck.at(Math.min(1, at / duration));
      }
    };
    if (!this.following) frame();
    this.following = true;
  }

  /** Say in words what a second changes. */
  #told(words) {
    [this.time.textContent, this.whole.textContent] = words.split(" of ");
    this.position.value = this.player.position; // also where a pixel is many seconds
    this.position.setAttribute("aria-valuetext", words);
    this.#hurt();
    this.root.dataset.late = String(this.player.late);
    if (this.player.state === "playing") this.#link();
  }

  /** Say which stems have turned out to be damaged. */
  #hurt() {
    const names = this.names.filter((name) => this.player.stems[name]?.damaged);
    if (names.length === (this.damaged ?? 0)) return;
    this.damaged = names.length;
    this.tell(`Damaged: ${names.join(", ")}. What cannot be decoded of it is silent.`);
  }

  #link() {
    this.linking ??= setTimeout(() => {
      this.linking = null;
      const seconds = this.player ? this.player.position : this.wanted.seconds;
      const { loop, speed } = this.wanted;
      history.replaceState(history.state, "", `#${written({ mix: this.mix, seconds, loop, speed })}`);
    }, LINKED);
  }

  // -- waveforms --------------------------------------------------------------

  /** Show the waveforms that this browser knows from before. */
  async #recall() {
    for (const deck of this.decks) {
      const peaks = await read(deck.file.sha256);
      if (deck.measured || !(peaks?.pairs instanceof Int8Array)) continue;
      this.known[deck.name] = peaks;
      deck.paint(peaks.pairs);
    }
    this.#judge();
  }

  /** The server has measured a stem: nothing is left to be made of it here. */
  #measured(name, sound) {
    const deck = this.decks.find((each) => each.name === name);
    if (!deck) return;
    this.known[name] = { pairs: sound.pairs, seconds: sound.seconds };
    deck.measure(sound);
    this.root.dataset.measured = String(this.decks.filter((each) => each.measured).length);
  }

  #judge() {
    const longest = Math.max(0, ...Object.values(this.known).map((peaks) => peaks.seconds));
    for (const deck of this.decks) if (this.known[deck.name] && !deck.measured) deck.mark(marks(this.known[deck.name], longest));
  }

  /** Draw what is not known yet, all stems from left to right, whenever playing leaves time for it. */
  async #gather() {
    const { player } = this;
    const left = this.decks.filter((deck) => !this.known[deck.name] && player.stems[deck.name]);
    const begun = left.map((deck) => ({ deck, stem: player.stems[deck.name], from: 0 }));
    const planes = planesFor(2, LOOKED * player.frame);
    for (const each of begun) each.into = new Gathering(each.stem.length, player.rate);
    let took = 0;
    while (begun.length > 0 && player === this.player) {
      for (const each of [...begun]) {
        await this.#turn(player, REST * took);
        const turn = performance.now();
        try {
          if (each.deck.measured || (await this.#gathered(each, player, planes))) begun.splice(begun.indexOf(each), 1);
        } catch {
          begun.splice(begun.indexOf(each), 1);
        }
        took = performance.now() - turn;
      }
    }
    this.#judge();
    this.root.dataset.peaks = "done";
  }

  async #turn(player, rest) {
    do await new Promise((go) => setTimeout(go, Math.max(20, rest)));
    while (player === this.player && !player.filled);
  }

  /** Look at one more window; true once the stem is known whole. */
  async #gathered(each, player, planes) {
    const { deck, stem } = each;
    const count = Math.min(LOOKED * player.frame, each.into.length - each.from);
    each.into.add(await stem.samples(each.from, count, undefined, planes), each.from);
    each.from += count;
    if (deck.measured) return true;
    if (each.from < each.into.length) {
      deck.paint(each.into.pairs, each.from / each.into.length);
      return false;
    }
    if (Math.abs(stem.length - each.into.length) > player.rate / 2) {
      Object.assign(each, { into: new Gathering(stem.length, player.rate), from: 0 }); // its length was guessed
      return false;
    }
    this.known[deck.name] = each.into.result;
    deck.paint(each.into.pairs, 1);
    await write(deck.file.sha256, each.into.result);
    this.#judge();
    return true;
  }

  // -- the mix as a file ------------------------------------------------------

  async #download() {
    this.mixdown.disabled = true;
    try {
      await this.#opened();
      this.#state(this.player.state);
      const blob = await rendered(this.player, (share) => this.tell(`The mix is made: ${Math.round(100 * share)} %`));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${this.root.dataset.task} - mix.wav`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      this.tell("The mix is made, and saved by your browser.");
    } catch (fault) {
      this.tell(`The mix cannot be made: ${fault.message}`);
    } finally {
      this.mixdown.disabled = false;
    }
  }
}

const root = document.querySelector("#player");
if (root) root.desk = new Desk(root);
