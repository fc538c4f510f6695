// What all views share: figures that stay fresh, local times, and the keys of the navigation.

const EVERY = 5000;
const GIVE_UP = 20000;
const policy = globalThis.trustedTypes?.createPolicy("stem-archive", { createHTML: (text) => text });
const html = (text) => (policy ? policy.createHTML(text) : text);

// --- local times: the server writes UTC, which stays to be seen on hover

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function localTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime][title$='UTC']")) {
    time.title = `${local.format(new Date(time.dateTime))} here · ${time.title}`;
    if ("local" in time.dataset) time.textContent = short.format(new Date(time.dateTime));
  }
}

// --- live figures: each part with an id is filled anew where the server's words for it changed, and nobody is at it

const seen = new Map();
const filledAt = new Map();

const partsOf = (live) => [...live.querySelectorAll("[id]")].filter((part) => !part.parentElement.closest("[data-live] [id]"));

function fill(old, fresh) {
  const words = fresh.outerHTML;
  const every = Number(old.dataset.every ?? 0) * 1000;
  if (seen.get(old.id) === words || old.contains(document.activeElement)) return;
  if (Date.now() - (filledAt.get(old.id) ?? 0) < every) return;
  for (const details of old.querySelectorAll("details[open][id]")) {
    fresh.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
  }
  old.replaceChildren(...fresh.childNodes);
  localTimes(old);
  seen.set(old.id, words);
  filledAt.set(old.id, Date.now());
}

async function refresh(live) {
  const answer = await fetch(live.dataset.live, { signal: AbortSignal.timeout(GIVE_UP) });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(html(`<div data-live>${await answer.text()}</div>`), "text/html");
  const now = partsOf(fresh.body.firstElementChild);
  const before = partsOf(live);
  if (now.map((part) => part.id).join() === before.map((part) => part.id).join()) {
    before.forEach((old, index) => fill(old, now[index]));
  } else if (!live.contains(document.activeElement)) {
    now.forEach((part) => seen.set(part.id, part.outerHTML));
    live.replaceChildren(...fresh.body.firstElementChild.childNodes);
    localTimes(live);
  }
}

function keepFresh(live) {
  for (const part of partsOf(live)) seen.set(part.id, part.outerHTML);
  let due;
  const round = async () => {
    clearTimeout(due);
    if (document.visibilityState === "visible") await refresh(live).then(() => delete live.dataset.stale, () => (live.dataset.stale = ""));
    due = setTimeout(round, EVERY);
  };
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && round());
  due = setTimeout(round, EVERY);
}

// --- keys: g and the letter of a view; / for the search; j and k for rows; ? for all of them

const SEARCH = "ask-title";
const keys = document.querySelector("#keys");
let after = "";

/** Go to the link of another row of the view's tables. */
function toRow(by) {
  const links = [...document.querySelectorAll("main table.stack tbody tr")].map((row) => row.querySelector("a[href]"));
  const rows = links.filter((link) => link?.checkVisibility());
  const here = rows.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : here + by;
  rows[next]?.focus();
}

function search() {
  const field = document.getElementById(SEARCH);
  const tasks = document.querySelector("nav a[data-key='t']");
  if (field) field.focus();
  else if (tasks) location.href = `${tasks.href}#${SEARCH}`;
}

const acts = { "?": () => keys?.showModal(), "/": search, j: () => toRow(1), k: () => toRow(-1) };

function pressed(event) {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || at.isContentEditable || /^(input|select|textarea)$/i.test(at.tagName)) return;
  if (keys?.open) return event.key === "?" ? keys.close() : undefined;
  const before = after;
  after = event.key === "g" ? "g" : "";
  if (before === "g") return document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
  if (!Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
}

const button = document.querySelector("#show-keys");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => keys.showModal());
  keys.querySelector("button").addEventListener("click", () => keys.close());
}
if (!matchMedia("(prefers-reduced-data: reduce)").matches) document.querySelectorAll("[data-live]").forEach(keepFresh);
localTimes();
document.addEventListener("keydown", pressed);
