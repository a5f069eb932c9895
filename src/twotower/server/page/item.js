// One item: what it is, items similar to it, and users who would like it.

import { actions, attempt, choose, remember, tags, tell, titleOf } from "./app.js";
import { ask } from "./api.js";
import { find, make } from "./elements.js";

export async function openItem(id) {
  const path = encodeURIComponent(id);
  const [item, similar, people] = await Promise.all([ask(`v1/items/${path}`), ask(`v1/similar/${path}?k=8`), ask(`v1/users-for/${path}?k=5`)]);
  remember([item, ...similar.items]);
  const dialog = find("#item");
  const like = similar.items.map((other) =>
    make("li", {}, make("button", { type: "button", class: "row", onclick: () => attempt(() => openItem(other.item_id)) },
      make("span", { class: "name" }, titleOf(other)),
      make("span", { class: "value", title: "cosine similarity" }, other.score.toFixed(2)))));
  const users = people.users.map((user) =>
    make("li", {}, make("button", { type: "button", onclick: () => { dialog.close(); choose(user.user_id); } }, String(user.user_id))));
  find("#item-body").replaceChildren(
    make("h2", { id: "item-title" }, titleOf(item)),
    tags(item),
    item.trained ? "" : make("p", { class: "quiet" }, "Not in the training set: placed by its features alone."),
    actions(item, (of, kind) => { dialog.close(); tell(of, kind); }),
    make("h3", {}, "Similar items"),
    make("ol", { class: "alike" }, ...(like.length ? like : [make("li", { class: "quiet" }, "None.")])),
    make("h3", {}, "Users to recommend it to"),
    make("ul", { class: "people" }, ...(users.length ? users : [make("li", { class: "quiet" }, "None: all users have it.")])));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}
