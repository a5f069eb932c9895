// The API, as its OpenAPI describes it: every route with its fields, an example, and a form to try it.

import { ask, send } from "./api.js";
import { capital, find, make, useTheme } from "./elements.js";

const GROUPS = { recommend: "Recommend", look: "Look up", change: "Change", health: "Operate" };
let api;

const resolved = (schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

// A type in words: "list of integer", "string or null".
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const any = schema.anyOf ?? schema.oneOf;
  if (any) return [...new Set(any.map(typeOf))].join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items) || "anything"}`;
  return schema.type ?? "anything";
}

// The names of the models that a schema mentions.
function mentioned(schema, found = new Set()) {
  for (const name of JSON.stringify(schema ?? {}).matchAll(/#\/components\/schemas\/(\w+)/g)) {
    if (found.has(name[1])) continue;
    found.add(name[1]);
    mentioned(api.components.schemas[name[1]], found);
  }
  return found;
}

function table(caption, rows) {
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, caption), make("th", { scope: "col" }, "type"), make("th", { scope: "col" }, "meaning"))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("td", {}, make("code", {}, row[0])), make("td", {}, row[1]), make("td", {}, row[2]))))));
}

function fieldsOf(name) {
  const { properties = {}, required = [] } = api.components.schemas[name];
  return Object.entries(properties).map(([field, schema]) => {
    const fallback = schema.default !== undefined && schema.default !== null ? ` Default: ${JSON.stringify(schema.default)}.` : "";
    const range = [schema.minimum !== undefined && `at least ${schema.minimum}`, schema.maximum !== undefined && `at most ${schema.maximum}`].filter(Boolean).join(", ");
    return [field + (required.includes(field) ? "" : "?"), typeOf(schema), `${schema.description ?? ""}${range ? ` ${capital(range)}.` : ""}${fallback}`.trim()];
  });
}

// Tables of a model and of those inside it.
function models(schema) {
  return [...mentioned(schema)].filter((name) => api.components.schemas[name].properties).map((name) => table(name, fieldsOf(name)));
}

function exampleOf(operation) {
  const examples = resolved(operation.requestBody?.content?.["application/json"]?.schema).examples;
  return examples ? JSON.stringify(examples[0]) : undefined;
}

function tryIt(path, method, operation) {
  const inputs = new Map();
  const parts = [];
  for (const parameter of operation.parameters ?? []) {
    const input = make("input", { value: parameter.in === "path" ? (parameter.examples ? Object.values(parameter.examples)[0].value ?? "" : parameter.schema?.examples?.[0] ?? "") : "" });
    inputs.set(parameter, input);
    parts.push(make("label", {}, parameter.name, input));
  }
  const example = exampleOf(operation);
  const body = example === undefined ? null : make("textarea", { spellcheck: "false", "aria-label": "Body" });
  if (body) body.value = example;
  const output = make("pre", { hidden: true, tabindex: "0", role: "status" });
  const act = async () => {
    const query = new URLSearchParams();
    let to = path.slice(1);
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") to = to.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    output.hidden = false;
    try {
      const answer = await send(`${to}${query.size ? `?${query}` : ""}`, body?.value, method.toUpperCase());
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      output.textContent = `${answer.status}\n${shown.slice(0, 20000)}${shown.length > 20000 ? "\n… cut" : ""}`;
    } catch (error) {
      output.textContent = error.message;
    }
  };
  return make("div", { class: "try" }, ...parts, body, make("button", { type: "button", class: "strong", onclick: act }, "Send"), output);
}

function curl(path, method, operation) {
  const scope = operation.security?.flatMap((one) => one.token ?? [])[0];
  const base = new URL(".", import.meta.url).href.replace(/\/$/, "");
  const body = exampleOf(operation);
  const given = (operation.parameters ?? []).reduce((text, one) => text.replace(`{${one.name}}`, one.schema?.examples?.[0] ?? one.name), path);
  return [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${base}${given}`, scope && "  -H 'Authorization: Bearer TOKEN'", body && `  -d '${body}'`].filter(Boolean).join(" \\\n");
}

function route(path, method, operation) {
  const scope = operation.security?.flatMap((one) => one.token ?? [])[0];
  const open = operation.security?.length === 0 || operation.security?.some((one) => !one.token);
  const good = Object.entries(operation.responses).filter(([status]) => status < 300);
  const errors = Object.entries(operation.responses).filter(([status]) => status >= 400);
  const answer = good[0]?.[1].content?.["application/json"]?.schema;
  const details = make("details", {},
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path), make("span", { class: "quiet" }, operation.description.split("\n")[0])));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const parameters = (operation.parameters ?? []).map((one) => [one.name + (one.required ? "" : "?"), typeOf(one.schema), one.description ?? (one.schema?.default !== undefined && one.schema.default !== null && one.schema.default !== "" ? `Default: ${one.schema.default}.` : "")]);
    details.append(make("div", { class: "body" },
      ...operation.description.split("\n\n").slice(1).map((text) => make("p", {}, text)),
      make("p", { class: "quiet" }, scope ? `Scope of the token: ${scope}${open ? "; not needed on this server" : ""}.` : "No token is needed."),
      parameters.length ? table("parameter", parameters) : null,
      ...models(operation.requestBody?.content?.["application/json"]?.schema),
      make("h3", {}, "Example"), make("pre", { tabindex: "0" }, curl(path, method, operation)),
      make("h3", {}, "Try it"), tryIt(path, method, operation),
      make("h3", {}, `Answer (${good.map(([status]) => status).join(", ")})`), ...(answer ? models(answer) : []),
      make("p", { class: "quiet" }, `Errors: ${errors.map(([status, of]) => `${status}, ${of.description.replace(/\.$/, "").toLowerCase()}`).join("; ")}.`)));
  }, { once: false });
  return details;
}

async function start() {
  useTheme(() => {});
  find("#file").addEventListener("click", async (event) => { // with the token, which a link does not send
    event.preventDefault();
    const link = make("a", { href: URL.createObjectURL(new Blob([JSON.stringify(api, null, 2)], { type: "application/json" })), download: "openapi.json" });
    link.click();
  });
  try {
    api = await ask("openapi.json");
  } catch (error) {
    find("#about").textContent = error.message;
    return;
  }
  find("#version").textContent = `version ${api.info.version}`;
  find("#about").textContent = api.info.description.replaceAll("`", "");
  const groups = new Map(Object.keys(GROUPS).map((tag) => [tag, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "health";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(route(path, method, operation));
    }
  }
  find("#routes").replaceChildren(...[...groups].filter(([, rows]) => rows.length).map(([tag, rows]) => make("section", {}, make("h2", {}, GROUPS[tag] ?? capital(tag)), ...rows)));
}

start();
