// @ts-check
/** The head of the page: which model is served, and how the server is. */

import { byId, el } from "./dom.js";

/** @param {import("./api.js").Model} model */
export function showModel(model) {
  byId("model").replaceChildren(
    el("strong", {}, model.name), ` ${model.version}`,
    el("span", { className: "muted" }, ` ${model.precision} on ${model.engine}`),
  );
  document.title = `${model.name} ${model.version} · retinaserve`;
  byId("finds").textContent = `${model.name} finds ${listed(model.classes)}.`;
}

/**
 * @param {string} code `ready`, a problem's code, or `gone`
 * @param {string} words
 */
export function showState(code, words) {
  const place = byId("state");
  if (place.textContent === words) return;
  place.dataset.state = code;
  place.textContent = words;
}

/**
 * Names in a sentence; of many the first ones.
 * @param {string[]} names
 */
function listed(names) {
  const most = 8;
  const first = names.slice(0, most);
  if (names.length > most) return `${first.join(", ")} and ${names.length - most} more`;
  return first.length > 1 ? `${first.slice(0, -1).join(", ")} and ${first.at(-1)}` : first.join("");
}
