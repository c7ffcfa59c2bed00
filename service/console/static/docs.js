// @ts-check
/** The page about the API: /openapi.json, set as text. */

import { byId, el } from "./dom.js";

/** @typedef {Record<string, any>} Schema */

const EXAMPLES = {
  "post /v1/detect": "curl --data-binary @picture.jpg '{origin}/v1/detect?score_threshold=0.5'",
};

/** @param {any} document_ an OpenAPI document */
function show(document_) {
  byId("summary").textContent = `${document_.info.title} ${document_.info.version}: ${document_.info.summary ?? ""}`;
  const contents = byId("contents");
  const main = byId("main");
  for (const [path, verbs] of Object.entries(document_.paths)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      const id = `${verb}${path}`;
      contents.append(el("a", { href: `#${id}` }, `${verb.toUpperCase()} ${path}`));
      main.append(operationOf(id, verb, path, operation));
    }
  }
  for (const [name, schema] of Object.entries(document_.components?.schemas ?? {})) {
    main.append(schemaOf(name, schema));
  }
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/**
 * @param {string} id
 * @param {string} verb
 * @param {string} path
 * @param {any} operation
 */
function operationOf(id, verb, path, operation) {
  const title = el("h2", {}, el("span", { className: `verb ${verb}` }, verb.toUpperCase()), path);
  const section = el("section", { className: "operation", id }, title, el("p", {}, operation.summary ?? ""));
  if (operation.description) section.append(el("p", { className: "muted" }, ...marked(operation.description)));
  const example = EXAMPLES[/** @type {keyof typeof EXAMPLES} */ (`${verb} ${path}`)] ?? `curl ${verb === "get" ? "" : `-X ${verb.toUpperCase()} `}'{origin}${path}'`;
  section.append(el("pre", {}, el("code", {}, example.replace("{origin}", location.origin))));
  if (operation.parameters?.length) {
    section.append(el("h3", {}, "Parameters"), tableOf(
      ["Name", "In", "Type", "Meaning"],
      operation.parameters.map((/** @type {any} */ parameter) => [
        code(parameter.name), parameter.in, typeOf(parameter.schema),
        parameter.description ?? parameter.schema?.description ?? (parameter.required ? "needed" : ""),
      ]),
    ));
  }
  if (operation.requestBody) {
    const content = Object.entries(operation.requestBody.content);
    section.append(
      el("h3", {}, "Body"), el("p", {}, operation.requestBody.description ?? ""),
      tableOf(["Content-Type", "Type"], content.map(([type, media]) => [code(type), typeOf(/** @type {any} */ (media).schema)])),
    );
  }
  const answers = Object.entries(operation.responses ?? {});
  section.append(el("h3", {}, "Answers"), tableOf(
    ["Status", "Meaning", "Content-Type", "Type"],
    answers.map(([status, answer]) => {
      const { description, content = {} } = /** @type {any} */ (answer);
      const [first] = Object.values(content);
      return [code(status), description, Object.keys(content).join(", "), typeOf(/** @type {any} */ (first)?.schema)];
    }),
  ));
  return section;
}

/**
 * @param {string} name
 * @param {Schema} schema
 */
function schemaOf(name, schema) {
  const needed = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([property, of]) => [
    code(property), typeOf(of), [needed.has(property) ? "" : "optional.", of.description ?? ""].join(" ").trim(),
  ]);
  return el(
    "section", { className: "schema", id: `schema-${name}` }, el("h2", {}, name),
    el("p", { className: "muted" }, schema.description ?? ""),
    rows.length ? tableOf(["Member", "Type", "Meaning"], rows) : el("p", {}, typeOf(schema)),
  );
}

/**
 * A schema in a few words; what has a name is a link to it.
 * @param {Schema | undefined} schema
 * @returns {Node | string}
 */
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return el("a", { href: `#schema-${name}` }, name);
  }
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return joined(several.filter((/** @type {Schema} */ one) => one.type !== "null").map(typeOf), " or ");
  if (schema.enum) return schema.enum.map((/** @type {any} */ value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") {
    if (schema.prefixItems) return joined([`${schema.prefixItems.length} of `, typeOf(schema.prefixItems[0])], "");
    return joined(["list of ", typeOf(schema.items)], "");
  }
  if (schema.type === "object" && schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return joined(["object of ", typeOf(schema.additionalProperties)], "");
  }
  return [schema.format ?? schema.type ?? "any", bounds(schema)].join(" ").trim();
}

/** @param {Schema} schema */
function bounds({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `from ${minimum}`;
  return maximum === undefined ? "" : `to ${maximum}`;
}

/**
 * @param {(Node | string)[]} parts
 * @param {string} by
 */
function joined(parts, by) {
  const whole = el("span");
  parts.forEach((part, index) => whole.append(...(index ? [by, part] : [part])));
  return whole;
}

/**
 * @param {string[]} heads
 * @param {(Node | string)[][]} rows
 */
function tableOf(heads, rows) {
  const cells = (/** @type {string} */ tag) => (/** @type {Node | string} */ cell) => el(tag, {}, cell);
  return el(
    "table", {},
    el("thead", {}, el("tr", {}, ...heads.map(cells("th")))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cells("td"))))),
  );
}

/**
 * A text with what stands between backticks as code.
 * @param {string} text
 */
function marked(text) {
  return text.split("`").map((part, index) => (index % 2 ? code(part) : part));
}

/** @param {string} text */
function code(text) {
  return el("code", {}, text);
}

const response = await fetch("/openapi.json");
show(await response.json());
