// The page: a user, what they watched, what is recommended and why, and how it changes.

import { ask, newId } from "./api.js";
import { ItemMap, colour, isDark } from "./map.js";

const LENGTH = 12;
const find = (selector) => document.querySelector(selector);
const state = { model: null, user: null, known: true, list: [], history: [], categories: [], names: new Map() };
let map;

// Building elements: text is always text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function titleOf(item) {
  const [first] = state.model.display;
  const value = first === undefined ? null : item.display[first];
  return value === null || value === undefined || value === "" ? `Item ${item.item_id}` : String(value);
}

function remember(items) {
  for (const item of items) state.names.set(String(item.item_id), titleOf(item));
}

const nameOf = (id) => state.names.get(String(id)) ?? `item ${id}`;

function tags(item) {
  const { category, display } = state.model;
  const list = make("ul", { class: "tags" });
  for (const column of display.slice(1)) {
    const value = item.display[column];
    if (value === null || value === undefined || value === "") continue;
    const tag = make("li", { title: column }, Array.isArray(value) ? value.join(", ") : String(value));
    if (column === category) {
      tag.classList.add("category");
      tag.style.setProperty("--dot", colour(state.categories.indexOf(value)));
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

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}

// The user

async function choose(user, known) {
  state.user = user;
  state.known = known;
  history.replaceState(null, "", `#user=${encodeURIComponent(user)}`);
  closeUsers();
  find("#user").value = known ? String(user) : "";
  await attempt(() => refresh(true));
}

async function refresh(fresh) {
  const { user, known } = state;
  const query = known ? user : { id: user, features: {} };
  const [answer, past] = await Promise.all([
    ask("v1/recommend", { users: [query], k: Math.min(LENGTH, Math.max(state.model.items, 1)), explain: 3 }),
    ask(`v1/users/${encodeURIComponent(user)}?limit=200`),
  ]);
  if (user !== state.user) return; // another was chosen meanwhile
  const before = fresh ? new Map() : new Map(state.list.map((item) => [item.item_id, item.rank]));
  state.list = answer.results[0].items;
  state.history = past.history;
  remember(state.list);
  remember(past.history);
  showUser(past);
  showList(before);
  const watched = past.history.filter((item) => item.kind === "interaction").map((item) => item.item_id);
  map.mark(state.list.map((item) => item.item_id), watched);
}

function showUser(past) {
  const { user, known } = state;
  const since = past.events ? `, ${past.events} since` : "";
  find("#about").textContent = known
    ? `User ${user}: ${past.seen} watched in training${since}.`
    : past.events
      ? `A new user: ${past.events} watched so far.`
      : "A new user. Watch something and the list becomes yours.";
  const rows = past.history.map((item) =>
    make("li", { class: item.kind },
      make("button", { type: "button", class: "row", onclick: () => open(item.item_id) },
        make("span", { class: "name" }, titleOf(item)),
        make("span", { class: "value" }, item.kind === "skip" ? "skipped" : item.time ? "just now" : number(item.value)))));
  find("#history").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "Nothing yet.")]));
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
    make("div", { class: "acts" },
      make("button", { type: "button", class: "strong", onclick: () => tell(item.item_id, "interaction"), "aria-label": `Watch ${titleOf(item)}` }, "Watch"),
      make("button", { type: "button", onclick: () => tell(item.item_id, "skip"), "aria-label": `Skip ${titleOf(item)}` }, "Skip")));
}

function because(reasons) {
  if (!reasons || !reasons.items.length) return make("p", { class: "why quiet" }, "Popular; nothing of yours speaks for it yet.");
  const parts = [];
  for (const reason of reasons.items) {
    if (parts.length) parts.push(", ");
    parts.push(make("button", { type: "button", class: "link", onclick: () => open(reason.item_id), title: nameOf(reason.item_id) }, short(nameOf(reason.item_id))),
      make("span", { class: "plus" }, ` +${reason.contribution.toFixed(3)}`));
  }
  return make("p", { class: "why" }, make("span", { class: "quiet" }, "because you watched "), ...parts);
}

const short = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);

async function tell(item, kind) {
  const event = { id: newId("page-"), user_id: state.user, item_id: item, kind };
  if (kind === "interaction" && state.model.like !== null) event.value = state.model.like;
  find(`#list > li[data-item="${CSS.escape(String(item))}"]`)?.classList.add("leaving");
  await attempt(async () => {
    await ask("v1/events", { events: [event] });
    await refresh(false);
    say(kind === "skip" ? `Skipped ${short(nameOf(item))}.` : `Watched ${short(nameOf(item))}; the list has moved.`);
  });
  find("#list > .leaving")?.classList.remove("leaving");
}

// One item and those like it

async function open(id) {
  await attempt(async () => {
    const path = encodeURIComponent(id);
    const [item, alike] = await Promise.all([ask(`v1/items/${path}`), ask(`v1/similar/${path}?k=8`)]);
    remember([item, ...alike.items]);
    const rows = alike.items.map((other) =>
      make("li", {}, make("button", { type: "button", class: "row", onclick: () => open(other.item_id) },
        make("span", { class: "name" }, titleOf(other)),
        make("span", { class: "value" }, `${Math.round(100 * other.score)}%`))));
    const act = (kind) => () => { find("#item").close(); tell(item.item_id, kind); };
    find("#item-body").replaceChildren(
      make("h2", { id: "item-title" }, titleOf(item)),
      tags(item),
      make("p", { class: "quiet" }, item.trained ? "" : "New: placed by its features alone."),
      make("div", { class: "acts" },
        make("button", { type: "button", class: "strong", onclick: act("interaction") }, "Watch"),
        make("button", { type: "button", onclick: act("skip") }, "Skip")),
      make("h3", {}, "More like it"),
      make("ol", { class: "alike" }, ...rows));
    const dialog = find("#item");
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  });
}

// Searching users

let searching = 0;

async function search() {
  const typed = find("#user").value.trim();
  const text = typed === String(state.user) ? "" : typed; // the one who is chosen is not what is looked for
  const number = ++searching;
  const found = await attempt(() => ask(`v1/users?limit=8&query=${encodeURIComponent(text)}`));
  if (!found || number !== searching) return;
  const rows = found.users.map((user, place) =>
    make("li", { role: "option", id: `user-${place}`, "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); choose(user.user_id, true); } },
      make("span", {}, String(user.user_id)), make("span", { class: "quiet" }, `${user.seen} watched`)));
  if (!rows.length) rows.push(make("li", { class: "quiet" }, "No such user."));
  find("#users").replaceChildren(...rows);
  find("#users").hidden = false;
  find("#user").setAttribute("aria-expanded", "true");
  state.found = found.users;
  select(rows.length && found.users.length ? 0 : -1);
}

function select(place) {
  state.selected = place;
  [...find("#users").children].forEach((row, at) => row.setAttribute("aria-selected", String(at === place)));
  if (place >= 0) find("#user").setAttribute("aria-activedescendant", `user-${place}`);
  else find("#user").removeAttribute("aria-activedescendant");
}

function closeUsers() {
  searching++;
  find("#users").hidden = true;
  find("#user").setAttribute("aria-expanded", "false");
  select(-1);
}

function searchKey(event) {
  const many = state.found?.length ?? 0;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (find("#users").hidden) search();
    else if (many) select((state.selected + (event.key === "ArrowDown" ? 1 : -1) + many) % many);
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (state.selected >= 0 && !find("#users").hidden) choose(state.found[state.selected].user_id, true);
  } else if (event.key === "Escape") {
    closeUsers();
  }
}

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
  } else if (at >= 0 && (event.key === "w" || event.key === "s")) {
    tell(state.list[at].item_id, event.key === "w" ? "interaction" : "skip");
  } else if (at >= 0 && event.key === "Enter" && document.activeElement === cards[at]) {
    open(state.list[at].item_id);
  }
}

function legend() {
  const rows = state.categories.slice(0, 12).map((name, place) => {
    const button = make("button", { type: "button", "aria-pressed": "false" }, name);
    button.style.setProperty("--dot", colour(place));
    button.addEventListener("click", () => {
      map.only = map.only === place ? -1 : place;
      document.querySelectorAll("#legend button").forEach((other, at) => other.setAttribute("aria-pressed", String(at === map.only)));
      map.draw();
    });
    return make("li", {}, button);
  });
  find("#legend").replaceChildren(...rows);
}

function theme(next) {
  document.documentElement.dataset.theme = next;
  localStorage.setItem("twotower theme", next);
  legend();
  map.draw();
  if (state.list.length) showList(new Map());
}

async function start() {
  const chosen = localStorage.getItem("twotower theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  map = new ItemMap(find("#map"), find("#tip"), open);
  find("#theme").addEventListener("click", () => theme(isDark() ? "light" : "dark"));
  find("#user").addEventListener("input", search);
  find("#user").addEventListener("focus", () => { find("#user").select(); search(); });
  find("#user").addEventListener("blur", closeUsers);
  find("#user").addEventListener("keydown", searchKey);
  find("#new").addEventListener("click", () => choose(newId("new-"), false));
  document.addEventListener("keydown", listKey);
  find("#item").addEventListener("click", (event) => { if (event.target === event.currentTarget) event.target.close(); });
  await attempt(async () => {
    state.model = await ask("v1/model");
    const { users, items, model } = state.model;
    find("#model").textContent = `${users.toLocaleString("en")} users · ${items.toLocaleString("en")} items · model ${model}`;
    const points = await ask("v1/map");
    state.categories = points.categories;
    map.load(points);
    legend();
    const wanted = decodeURIComponent(location.hash.match(/^#user=(.+)$/)?.[1] ?? "");
    if (wanted.startsWith("new-")) return choose(wanted, false);
    const first = wanted || (await ask("v1/users?limit=1")).users[0]?.user_id;
    return first === undefined ? choose(newId("new-"), false) : choose(first, true);
  });
}

start();
