// Talking to the server: JSON in and out, the token if one is needed, and errors with their message.

const BASE = new URL(".", import.meta.url); // wherever the server is mounted
const KEY = `twotower token ${BASE.pathname}`;
let asking = null;

export async function ask(path, body) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), { method: body === undefined ? "GET" : "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 401) {
    asking ??= askForToken().finally(() => { asking = null; });
    await asking;
    return ask(path, body);
  }
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  return value;
}

function askForToken() {
  return new Promise((done, failed) => {
    const dialog = document.querySelector("#token");
    dialog.addEventListener("close", () => {
      const value = document.querySelector("#token-value").value.trim();
      if (dialog.returnValue !== "ok" || !value) return failed(new Error("This server asks for a token."));
      sessionStorage.setItem(KEY, value);
      done();
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

export function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
