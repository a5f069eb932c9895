// The page: a user, their history, what is recommended and why, and how it changes.

import { ask, newId } from "./api.js";
import { capital, count, find, make, short, useTheme } from "./elements.js";
import { openItem } from "./item.js";
import { ItemMap, colour, mapNote } from "./map.js";
import { Search } from "./search.js";

const LENGTH = 12;
const HISTORY = 200;
const state = { model: null, user: null, known: true, list: [], history: [], categories: [], names: new Map(), turn: 0, key: "w" };
let map, search;

const verb = () => state.model.verb;

export function titleOf(item) {
  const [first] = state.model.display;
  const value = first === undefined ? null : item.display[first];
  return value === null || value === undefined || value === "" ? `Item ${item.item_id}` : String(value);
}

export function remember(items) {
  for (const item of items) state.names.set(String(item.item_id), titleOf(item));
}

const nameOf = (id) => state.names.get(String(id)) ?? `Item ${id}`;

export function tags(item) {
  const { category, display } = state.model;
  const list = make("ul", { class: "tags" });
  for (const column of display.slice(1)) {
    const value = item.display[column];
    if (value === null || value === undefined || value === "") continue;
    const tag = make("li", { title: column }, Array.isArray(value) ? value.join(", ") : String(value));
    if (column === category) {
      tag.classList.add("category");
      tag.style.setProperty("--dot", `var(${colour(state.categories.indexOf(value))})`);
    }
    list.append(tag);
  }
  list.append(make("li", { class: "id" }, `#${item.item_id}`));
  return list;
}

function say(text, wrong = false) {
  const status = find("#status");
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}

// The user

export async function choose(user) {
  const given = String(user);
  state.user = given;
  state.list = state.history = [];
  for (const id of ["#list", "#history"]) find(id).replaceChildren(); // no click goes to the user before
  find("#about").textContent = "";
  find("#query").value = shownName();
  say("");
  history.replaceState(null, "", `#user=${encodeURIComponent(given)}`);
  await attempt(() => refresh(true));
}

const isNew = (user) => /^new-[0-9a-f]{18}$/.test(user);
const shownName = () => (state.user === null || isNew(state.user) ? "" : state.user);

async function refresh(fresh) {
  const { user } = state;
  const turn = ++state.turn;
  const past = await ask(`v1/users/${encodeURIComponent(user)}?limit=${HISTORY}`);
  const query = past.known ? user : { user, features: {} };
  const answer = await ask("v1/recommend", { users: [query], k: Math.min(LENGTH, Math.max(state.model.items, 1)), explain: 3 });
  if (turn !== state.turn) return; // something else was chosen meanwhile
  const before = fresh ? new Map() : new Map(state.list.map((item) => [item.item_id, item.rank]));
  Object.assign(state, { known: past.known, list: answer.results[0].items, history: past.history });
  remember(state.list);
  remember(past.history);
  showUser(past);
  showList(before);
  await attempt(() => showMarks(query, turn));
}

async function showMarks(query, turn) {
  const had = state.history.filter((item) => item.kind === "interaction").map((item) => item.item_id);
  const recommended = new Set(state.list.map((item) => String(item.item_id)));
  const found = await ask("v1/map", { items: [...new Set([...state.list.map((item) => item.item_id), ...had])], user: query });
  if (turn !== state.turn) return;
  const marks = found.items.map((place) => ({
    ...place, id: place.item_id, title: nameOf(place.item_id), what: recommended.has(String(place.item_id)) ? "recommended" : verb().past,
  }));
  marks.push({ ...found.user, title: isNew(state.user) ? "The new user" : `User ${state.user}`, what: "user" });
  map.mark(marks);
}

function showUser(past) {
  const { past: done, alone } = verb();
  const named = isNew(state.user) ? "A new user" : `User ${state.user}`;
  const since = past.events ? `${past.seen ? ", " : ""}${past.events.toLocaleString("en")} ${past.seen ? "more " : ""}since` : "";
  find("#about").textContent = past.known
    ? `${named}: ${past.seen || !past.events ? `${count(past.seen, "item")} ${done} in training` : ""}${since}.`
    : past.events
      ? `${named}${isNew(state.user) ? "" : ", not in the training set"}: ${count(past.events, "item")} ${done} so far.`
      : `${named}${isNew(state.user) ? "" : " is not in the training set, and starts as a new user"}. The list is what is popular; ${alone} something and it becomes personal.`;
  const rows = past.history.map((item) =>
    make("li", { class: item.kind },
      make("button", { type: "button", class: "row", onclick: () => open(item.item_id) },
        make("span", { class: "name" }, titleOf(item)),
        make("span", { class: "value" }, item.kind === "skip" ? "skipped" : item.time ? when(item.time) : number(item.value)))));
  find("#history").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "Nothing yet.")]));
}

function when(time) {
  const minutes = (Date.now() / 1000 - time) / 60;
  return minutes < 2 ? "just now" : minutes < 60 * 24 ? new Date(1000 * time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : new Date(1000 * time).toLocaleDateString();
}

const number = (value) => (value === null || value === undefined ? "" : value.toFixed(2));

// The list

function showList(before) {
  const focused = document.activeElement?.closest("#list > li");
  const place = focused ? [...focused.parentNode.children].indexOf(focused) : -1;
  const highest = Math.max(...state.list.map((item) => Math.abs(item.score)), 1e-9);
  const cards = state.list.map((item) => card(item, highest, before));
  find("#list").replaceChildren(...(cards.length ? cards : [make("li", { class: "quiet" }, "Nothing is left to recommend.")]));
  if (place >= 0) (cards[Math.min(place, cards.length - 1)] ?? find("#list")).focus();
}

function card(item, highest, before) {
  const bar = make("span", { class: "bar", title: `score ${item.score.toFixed(3)}` });
  bar.style.setProperty("--part", `${Math.max(2, (100 * Math.abs(item.score)) / highest)}%`);
  let move = null;
  if (before.size) {
    const earlier = before.get(item.item_id);
    const text = earlier === undefined ? "new" : earlier > item.rank ? `▲ ${earlier - item.rank}` : earlier < item.rank ? `▼ ${item.rank - earlier}` : "";
    if (text) move = make("span", { class: `move ${earlier === undefined ? "new" : ""}` }, text);
  }
  return make("li", { class: "card", tabindex: "-1", "data-item": item.item_id },
    make("span", { class: "rank", "aria-hidden": "true" }, String(item.rank)),
    make("div", { class: "text" },
      make("button", { type: "button", class: "title", onclick: () => open(item.item_id), title: titleOf(item) }, titleOf(item)),
      tags(item),
      make("div", { class: "score" }, bar, make("span", { class: "quiet" }, item.score.toFixed(3)), move),
      because(item.because)),
    actions(item, tell));
}

export function actions(item, act) {
  const { base, alone } = verb();
  return make("div", { class: "acts" },
    make("button", { type: "button", class: "strong", onclick: () => act(item.item_id, "interaction"), "aria-label": `${capital(base)} ${titleOf(item)}` }, capital(alone)),
    make("button", { type: "button", onclick: () => act(item.item_id, "skip"), "aria-label": `Skip ${titleOf(item)}` }, "Skip"));
}

function because(reasons) {
  if (!reasons || !reasons.items.length) return make("p", { class: "why quiet" }, "Popular; no item of this user raises it.");
  const parts = [];
  for (const reason of reasons.items) {
    if (parts.length) parts.push(", ");
    parts.push(make("button", { type: "button", class: "link", onclick: () => open(reason.item_id), title: nameOf(reason.item_id) }, short(nameOf(reason.item_id))),
      make("span", { class: "plus" }, ` +${reason.contribution.toFixed(3)}`));
  }
  return make("p", { class: "why" }, make("span", { class: "quiet" }, `because this user ${verb().past} `), ...parts);
}

export async function tell(item, kind) {
  const event = { id: newId("page-"), user_id: state.user, item_id: item, kind };
  if (kind === "interaction" && state.model.like !== null) event.value = state.model.like;
  find(`#list > li[data-item="${CSS.escape(String(item))}"]`)?.classList.add("leaving");
  await attempt(async () => {
    await ask("v1/events", { events: [event] });
    await refresh(false);
    say(`${kind === "skip" ? "Skipped" : capital(verb().past)} ${short(nameOf(item))}; list updated.`);
  });
  find("#list > .leaving")?.classList.remove("leaving");
}

const open = (id) => attempt(() => openItem(id));

// Keys for the list

function listKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
  if (event.target.closest("input, canvas")) return;
  const cards = [...document.querySelectorAll("#list > .card")];
  const at = cards.indexOf(document.activeElement?.closest("#list > .card"));
  if (event.key === "j" || event.key === "k") {
    const next = Math.max(0, Math.min(cards.length - 1, at + (event.key === "j" ? 1 : -1)));
    cards[next]?.focus();
    event.preventDefault();
  } else if (at >= 0 && (event.key === state.key || event.key === "s")) {
    tell(state.list[at].item_id, event.key === "s" ? "skip" : "interaction");
  } else if (at >= 0 && event.key === "Enter" && document.activeElement === cards[at]) {
    open(state.list[at].item_id);
  }
}

function keys() {
  const first = verb().alone[0];
  state.key = "jks".includes(first) ? "y" : first;
  const key = (name) => make("kbd", {}, name);
  find("#keys").replaceChildren(key("j"), " ", key("k"), " move, ", key(state.key), ` ${verb().alone}, `, key("s"), " skip, ", key("Enter"), " similar items");
}

function legend(points) {
  const rows = points.categories.slice(0, 8).map((name, place) => {
    const button = make("button", { type: "button", "aria-pressed": "false" }, name);
    button.style.setProperty("--dot", `var(${colour(place)})`);
    button.addEventListener("click", () => {
      map.only = map.only === place ? -1 : place;
      document.querySelectorAll("#legend button").forEach((other, at) => other.setAttribute("aria-pressed", String(at === map.only)));
      map.draw();
    });
    return make("li", {}, button);
  });
  const others = points.category.filter((place) => place < 0 || place >= 8).length;
  if (rows.length && others) rows.push(make("li", { class: "others quiet" }, `${count(others, "other")}`));
  find("#legend").replaceChildren(...rows);
}

const wanted = () => {
  try {
    return decodeURIComponent(location.hash.match(/^#user=(.+)$/)?.[1] ?? "");
  } catch {
    return ""; // a % that stands for nothing
  }
};

async function start() {
  map = new ItemMap(find("#map"), find("#tip"), open);
  useTheme(() => map.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.draw());
  find("#new").addEventListener("click", () => choose(newId("new-")));
  find("#closer").addEventListener("click", () => map.zoomed(1.6));
  find("#further").addEventListener("click", () => map.zoomed(1 / 1.6));
  find("#whole").addEventListener("click", () => map.whole());
  document.addEventListener("keydown", listKey);
  addEventListener("hashchange", () => { if (wanted() && wanted() !== state.user) choose(wanted()); });
  find("#item").addEventListener("click", (event) => { if (event.target === event.currentTarget) event.target.close(); });
  await attempt(async () => {
    state.model = await ask("v1/model");
    const { users, items, model } = state.model;
    search = new Search({ chosen: shownName, titleOf, past: () => verb().past, user: choose, item: open, failed: (error) => say(error.message, true) });
    find("#model").textContent = `${count(users, "user")} · ${count(items, "item")} · model ${model}`;
    find("#history-head").textContent = capital(verb().past);
    find("#had").textContent = verb().past;
    keys();
    const points = await ask("v1/map");
    state.categories = points.categories;
    map.load(points);
    find("#map-note").textContent = mapNote({ ...points, past: verb().past });
    legend(points);
    const first = wanted() || (await ask("v1/users?limit=1")).users[0]?.user_id;
    return choose(first ?? newId("new-"));
  });
}

start();
