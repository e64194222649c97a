/* Live readings, ticking ages and keys. Everything works without this script; it never sends a form. */
"use strict";

const EVERY = 2000, LOST = 10000, UNSURE = 60000;
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

/* Time: the node's clock counts, not this machine's. */
let offset = root.dataset.now ? Date.parse(root.dataset.now) - Date.now() : 0;
const now = () => Date.now() + offset;

function duration(seconds) {
  const s = Math.floor(seconds), minutes = Math.floor(s / 60), hours = Math.floor(s / 3600);
  if (s < 60) return s + " s";
  if (s < 3600) return minutes + " min";
  return minutes % 60 ? hours + " h " + (minutes % 60) + " min" : hours + " h";
}

function tick() {
  for (const time of all("time[datetime]")) {
    const seconds = (now() - Date.parse(time.dateTime)) / 1000;
    if (!(seconds >= 0 && seconds < 86400)) continue;
    const text = duration(seconds) + " ago";
    if (time.textContent !== text) time.textContent = text;
    if (time.dataset.stale) time.classList.toggle("stale", seconds > Number(time.dataset.stale));
  }
  for (const time of all("time[data-until]")) {
    const seconds = Math.max(0, (Date.parse(time.dataset.until) - now()) / 1000);
    time.textContent = Math.floor(seconds / 60) + ":" + String(Math.floor(seconds % 60)).padStart(2, "0");
  }
}

/* Live: the same page again; what has changed is replaced, never what somebody is using. */
let tag = null, last = Date.now(), lastClock = byId("made") ? byId("made").textContent : "";
let asking = false;
const opened = new WeakSet();
let loading = true;

document.addEventListener("toggle", (event) => {
  if (!loading && event.target.tagName === "DETAILS") opened.add(event.target);
}, true);

function inUse(part) {
  const active = document.activeElement;
  if (active && active !== document.body && part.contains(active)) return true;
  if (all("details", part).some((one) => opened.has(one))) return true;
  const selected = document.getSelection();
  if (selected && !selected.isCollapsed && part.contains(selected.anchorNode)) return true;
  return typedIn(part);
}

const typedIn = (part) => all("input, textarea, select", part).some((one) =>
  one.type === "checkbox" || one.type === "radio" ? one.checked !== one.defaultChecked && one.id !== "keys-off"
    : one.options ? [...one.options].some((option) => option.selected !== option.defaultSelected)
      : one.type !== "hidden" && one.value !== one.defaultValue);

function same(a, b) {
  const bare = (part) => {
    const copy = part.cloneNode(true);
    all("time", copy).forEach((one) => { one.textContent = ""; one.classList.remove("stale"); });
    all("input[name=csrf_token]", copy).forEach((one) => one.remove());
    return copy.outerHTML;
  };
  return bare(a) === bare(b);
}

function take(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const found = new Map(all("[data-live]", fresh).map((part) => [part.dataset.live, part]));
  // told apart before anything moves from there to here
  const grow = all("[data-grow]").map((part) => [part, [...(fresh.getElementById(part.id) || part).children].slice(part.children.length)]);
  let left = false;
  for (const part of all("[data-live]")) {
    const other = found.get(part.dataset.live);
    if (!other || same(part, other)) continue;
    if (inUse(part)) { left = true; continue; }
    if ("announce" in part.dataset) announce(part, other);
    part.replaceWith(document.adoptNode(other));
  }
  for (const [part, more] of grow) for (const child of more) part.append(document.adoptNode(child));
  if (fresh.title) document.title = fresh.title;
  if (byId("made") && fresh.getElementById("made")) lastClock = byId("made").textContent = fresh.getElementById("made").textContent;
  if (left) tag = null;
}

/* A screen reader hears a verdict when it becomes another one, not at each poll. */
function announce(part, other) {
  const title = (one) => { const h1 = one.querySelector("h1"); return h1 ? h1.textContent : ""; };
  if (title(part) !== title(other)) byId("said").textContent = title(other);
}

async function poll() {
  if (asking || document.hidden || !document.querySelector("[data-live]")) return;
  asking = true;
  try {
    const headers = { "X-Poll": "1" };
    if (tag) headers["If-None-Match"] = tag;
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(8000) });
    if (answer.type === "opaqueredirect") {
      if (!typedIn(document)) location.reload(); // the log-in ended; what was typed is kept when it is sent
      return;
    }
    if (answer.status !== 200 && answer.status !== 304) return;
    const date = Date.parse(answer.headers.get("Date") || "");
    if (date && Math.abs(date - now()) > 2000) offset = date - Date.now();
    last = Date.now();
    tag = answer.headers.get("ETag") || tag;
    if (answer.status === 200) take(await answer.text());
  } catch (error) {
    if (!(error instanceof TypeError) && error.name !== "TimeoutError" && error.name !== "AbortError") throw error;
  } finally {
    asking = false;
    connection();
  }
}

/* Nothing is green when nothing is known. */
function connection() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  const silent = Date.now() - last, lost = silent > LOST;
  if (byId("lost")) {
    byId("lost").hidden = !lost;
    byId("lost-for").textContent = duration(silent / 1000);
    byId("lost-at").textContent = lastClock + " UTC";
  }
  const live = byId("live");
  if (live) {
    live.classList.toggle("lost", lost);
    live.lastElementChild.textContent = lost ? "No reading for " + duration(silent / 1000) : "Live";
  }
  const verdict = byId("v");
  if (lost && root.dataset.conn !== "lost" && verdict) {
    verdict.dataset.before = verdict.textContent;
    verdict.textContent = "As of " + lastClock + ": " + verdict.textContent;
  }
  if (!lost && verdict && verdict.dataset.before) {
    verdict.textContent = verdict.dataset.before;
    delete verdict.dataset.before;
  }
  if (lost) root.dataset.conn = "lost"; else delete root.dataset.conn;
  root.toggleAttribute("data-unsure", silent > UNSURE);
}

/* Keys: they move the focus or go to a page, and never do anything by themselves. */
const PAGES = { o: "/", c: "/changes", h: "/history", s: "/services", v: "/vips", j: "/jobs" };
let went = 0, at = -1;

const typing = (one) => one && (one.isContentEditable || /^(TEXTAREA|SELECT)$/.test(one.tagName) ||
  (one.tagName === "INPUT" && !/^(checkbox|radio|submit|button)$/.test(one.type)));

function step(by) {
  const rows = all("[data-row], details.file > summary");
  if (!rows.length) return;
  at = Math.min(rows.length - 1, Math.max(0, at + by));
  const row = rows[at];
  const target = row.matches("a, summary, button") ? row : row.querySelector("a, summary, input") || row;
  target.focus();
  row.scrollIntoView({ block: "nearest" });
}

function help() {
  const dialog = byId("keys");
  if (dialog.open) { dialog.close(); return; }
  dialog.showModal();
}

function focusOn(selector) {
  const found = document.querySelector(selector);
  if (found) { found.focus(); if (found.select) found.select(); }
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || localStorage.getItem("keys") === "off") return;
  const active = document.activeElement;
  if (event.key === "Escape") {
    const ask = active && active.closest("details[open]");
    if (ask) { ask.open = false; const summary = ask.querySelector("summary"); if (summary) summary.focus(); }
    return;
  }
  if (typing(active)) return;
  if (Date.now() - went < 1500) {
    went = 0;
    if (PAGES[event.key]) { location.href = PAGES[event.key]; event.preventDefault(); }
    return;
  }
  const actions = {
    g: () => { went = Date.now(); },
    "?": help,
    "/": () => focusOn("[data-filter], input[type=search], .filters input"),
    j: () => step(1),
    k: () => step(-1),
    o: () => { const one = active && active.closest("details"); if (one) one.open = !one.open; },
    u: () => { const other = document.querySelector(".seg a:not([aria-current])"); if (other) location.href = other.href; },
    x: () => { const near = active && (active.type === "checkbox" ? active : (active.closest("[data-row], li") || root).querySelector("input[type=checkbox]")); if (near) near.click(); },
    a: () => pick("a"),
    b: () => pick("b"),
    ".": () => focusOn("main .btn.first, .dock .btn.first"),
  };
  if (actions[event.key]) { actions[event.key](); event.preventDefault(); }
}

function pick(name) {
  const row = document.activeElement && document.activeElement.closest("[data-row], li");
  const radio = row && row.querySelector('input[type=radio][name="' + name + '"]');
  if (radio) radio.click();
}

/* Changes: a plan is of the areas that were ticked when it was made. */
const ticks = all('input[type=checkbox][name="area"]');
function planFor() {
  const other = ticks.some((one) => one.checked !== one.defaultChecked);
  byId("plan-for").hidden = !other;
  for (const one of all('#do button[name="do"]')) one.classList.toggle("first", !other && one.dataset.first === "yes");
}
if (ticks.length && byId("plan-for")) {
  for (const one of all('#do button.first')) one.dataset.first = "yes";
  for (const one of ticks) one.addEventListener("change", planFor);
  window.addEventListener("pageshow", planFor);
}

document.addEventListener("keydown", pressed);
if (byId("keys-off")) {
  const box = byId("keys-off");
  box.checked = localStorage.getItem("keys") === "off";
  box.addEventListener("change", () => localStorage.setItem("keys", box.checked ? "off" : "on"));
}
if (byId("keys-hint")) byId("keys-hint").hidden = false;
if (byId("live") && document.querySelector("[data-live]")) byId("live").hidden = false;
setTimeout(() => { loading = false; }, 0);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { last = Math.max(last, Date.now() - LOST); poll(); } });
setInterval(() => { tick(); connection(); }, 1000);
const pace = () => { const own = document.querySelector("[data-every]"); return own ? Number(own.dataset.every) : EVERY; };
(function again() { setTimeout(() => { poll(); again(); }, pace()); })();
tick();
