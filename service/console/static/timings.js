// @ts-check
/** Where the time of a request went: the server's stages, and what is left for the way there. */

import { byId, el } from "./dom.js";

/**
 * @param {import("./api.js").Answer | undefined} answer
 */
export function showTimings(answer) {
  const place = byId("timings");
  if (!answer) return;
  const inside = answer.stages.reduce((sum, stage) => sum + stage.ms, 0);
  const rest = { name: "upload and network", ms: Math.max(0, answer.wallMs - inside) };
  const stages = [...answer.stages, rest];
  const bar = el("div", { className: "bar", "aria-hidden": "true" });
  const list = el("dl", { className: "stages-ms" });
  stages.forEach(({ name, ms }, index) => {
    const part = el("span", { className: `part-${index % 6}`, title: `${name} ${text(ms)}` });
    part.style.flexGrow = String(ms);
    bar.append(part);
    const key = el("span", { className: `swatch part-${index % 6}`, "aria-hidden": "true" });
    list.append(el("div", {}, el("dt", {}, key, name), el("dd", {}, text(ms))));
  });
  const total = el("div", { className: "row" }, el("span", {}, "Time"), el("output", {}, text(answer.wallMs)));
  place.replaceChildren(total, bar, list);
}

/** @param {number} ms */
function text(ms) {
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}
