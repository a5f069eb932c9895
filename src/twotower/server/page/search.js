// The search of users and items: one box, two groups, by mouse and by keyboard.

import { ask } from "./api.js";
import { count, find, make } from "./elements.js";

const WAIT = 120; // milliseconds after the last letter
const EACH = 6;

export class Search {
  // chosen: who is shown now. user, item: what to do with the one that is picked.
  constructor({ chosen, titleOf, past, user, item, failed }) {
    Object.assign(this, { chosen, titleOf, past, user, item, failed });
    this.input = find("#query");
    this.box = find("#found");
    this.options = [];
    this.selected = -1;
    this.turn = 0;
    this.input.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.search(), WAIT); });
    this.input.addEventListener("focus", () => { this.input.select(); this.search(); });
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.key(event));
  }

  async search() {
    clearTimeout(this.timer);
    const typed = this.input.value.trim();
    const text = typed === this.chosen() ? "" : typed; // the user who is shown is not what is looked for
    const turn = ++this.turn;
    const query = encodeURIComponent(text.slice(0, 200));
    try {
      const [users, items] = await Promise.all([ask(`v1/users?limit=${EACH}&query=${query}`), ask(`v1/items?limit=${EACH}&query=${query}`)]);
      if (turn === this.turn) this.show(text, users, items);
    } catch (error) {
      this.failed(error);
    }
  }

  show(text, users, items) {
    this.shown = this.input.value;
    const past = this.past();
    const ofUsers = users.users.map((user) => this.option(String(user.user_id), `${count(user.seen, "item")} ${past}`, () => this.user(user.user_id)));
    const known = users.users.some((user) => String(user.user_id) === text);
    const fresh = text && !known ? [this.option(`“${text}”`, "as a new user", () => this.user(text))] : [];
    const ofItems = items.items.map((item) => this.option(this.titleOf(item), `#${item.item_id}`, () => this.item(item.item_id)));
    // Whoever types a title looks for an item: items come first where no user is found.
    const groups = [["Users", users.total, ofUsers], ["Items", items.total, ofItems]];
    if (!ofUsers.length) groups.reverse();
    groups.push(["New", 1, fresh]);
    this.options = [];
    const rows = [];
    for (const [name, total, options] of groups) {
      if (!options.length) continue;
      const head = total > options.length ? `${name}, ${options.length} of ${total.toLocaleString("en")}` : name;
      rows.push(make("div", { role: "group", "aria-label": name }, make("p", { class: "quiet", "aria-hidden": "true" }, head), ...options.map((one) => one.row)));
      this.options.push(...options);
    }
    this.options.forEach((option, at) => { option.row.id = `option-${at}`; });
    this.box.replaceChildren(...(rows.length ? rows : [make("p", { class: "quiet" }, "Nothing found.")]));
    this.box.hidden = false;
    this.box.scrollTop = 0;
    this.input.setAttribute("aria-expanded", "true");
    this.select(this.options.length ? 0 : -1);
  }

  option(name, more, act) {
    const row = make("div", { role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => this.pick(act) },
      make("span", { class: "name" }, name), make("span", { class: "quiet" }, more));
    return { row, act };
  }

  pick(act) {
    this.close();
    this.input.value = this.chosen();
    act();
  }

  select(at) {
    this.selected = at;
    this.options.forEach((option, place) => option.row.setAttribute("aria-selected", String(place === at)));
    if (at >= 0) {
      this.input.setAttribute("aria-activedescendant", `option-${at}`);
      this.options[at].row.scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  close() {
    this.turn++;
    clearTimeout(this.timer);
    this.box.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.select(-1);
  }

  async key(event) {
    const many = this.options.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.box.hidden) await this.search();
      else if (many) this.select((this.selected + (event.key === "ArrowDown" ? 1 : -1) + many) % many);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.box.hidden || this.shown !== this.input.value) await this.search(); // a quick typist's last letters count
      if (this.selected >= 0) this.pick(this.options[this.selected].act);
    } else if (event.key === "Escape") {
      this.close();
    }
  }
}
