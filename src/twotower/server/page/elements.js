// Small helpers for the page's elements and words.

export const find = (selector) => document.querySelector(selector);

// Builds an element. Text is always text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
export const capital = (text) => text[0].toUpperCase() + text.slice(1);

// Cuts a text to a width in letters; those of East Asian scripts are two wide.
export function short(text, most = 26) {
  let width = 0, cut = "";
  for (const letter of text) {
    width += letter.codePointAt(0) >= 0x1100 ? 2 : 1;
    if (width > most) return `${cut.trimEnd()}…`;
    cut += letter;
  }
  return text;
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function useTheme(changed) {
  const chosen = localStorage.getItem("twotower theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  find("#theme").addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("twotower theme", next);
    changed();
  });
}
