// Talks to the server: JSON in and out, with a token if one is needed, and errors as sentences.

const BASE = new URL(".", import.meta.url); // wherever the server is mounted
const KEY = `twotower token ${BASE.pathname}`;
let asking = null;

export async function ask(path, body, method = body === undefined ? "GET" : "POST") {
  const response = await send(path, body, method);
  const value = await response.json().catch(() => null);
  if (!response.ok) throw new Error(sentence(value?.error?.message ?? `The server answered with status ${response.status}.`));
  if (value === null) throw new Error("The server's answer is not JSON.");
  return value;
}

// Returns the response itself, once a token that is needed has been given.
export async function send(path, body, method) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    response = await fetch(new URL(path, BASE), { method, headers, body: text });
  } catch {
    throw new Error("The server does not respond. Is it running?");
  }
  if (response.status !== 401) return response;
  asking ??= askForToken().finally(() => { asking = null; });
  await asking;
  return send(path, body, method);
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function askForToken() {
  return new Promise((done, failed) => {
    const dialog = document.createElement("dialog");
    dialog.id = "token";
    dialog.setAttribute("aria-labelledby", "token-title");
    dialog.innerHTML = `<form method="dialog"><h2 id="token-title">This server needs a token</h2>
      <label for="token-value">Token</label><input id="token-value" type="password" autocomplete="off">
      <button value="ok" class="strong">Continue</button></form>`;
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      const value = dialog.querySelector("#token-value").value.trim();
      dialog.remove();
      if (dialog.returnValue !== "ok" || !value) return failed(new Error("This server needs a token. Reload the page to enter one."));
      sessionStorage.setItem(KEY, value);
      done();
    }, { once: true });
    dialog.showModal();
  });
}

export function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
