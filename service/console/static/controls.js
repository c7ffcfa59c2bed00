// @ts-check
/** The settings beside the picture: sliders, scales, classes. */

import { colourOf, dashOf } from "./colours.js";
import { byId, el, svg } from "./dom.js";

const STEP = 0.01;
/** The IoU slider asks the server, so it waits for the hand to rest. */
const RESTS_MS = 250;

/**
 * @typedef {{threshold: number, iou: number, scale: number, other: number | null,
 *   leftOut: Set<number>}} View
 */

/**
 * Fills in the controls for a model and has them write into `view`.
 * @param {import("./api.js").Model} model
 * @param {View} view
 * @param {() => void} changed
 */
export function buildControls(model, view, changed) {
  buildThreshold(model, view, changed);
  buildIou(view, changed);
  buildScales(model, view, changed);
  byId("classes").replaceChildren(
    ...model.classes.map((name, index) => {
      const box = el("input", { type: "checkbox", checked: !view.leftOut.has(index), onchange: flip });
      function flip() {
        if (box.checked) view.leftOut.delete(index);
        else view.leftOut.add(index);
        changed();
      }
      const count = el("span", { className: "number muted", id: `count-${index}` });
      return el("li", {}, el("label", {}, box, sample(index), el("span", { className: "name" }, name), count));
    }),
  );
}

/**
 * Writes what changes with every answer.
 * @param {number[]} counts detections above the threshold by class
 */
export function showCounts(counts) {
  counts.forEach((count, index) => {
    byId(`count-${index}`).textContent = String(count);
  });
}

/**
 * @param {import("./api.js").Model} model
 * @param {View} view
 * @param {() => void} changed
 */
function buildThreshold(model, view, changed) {
  const slider = byId("threshold");
  Object.assign(slider, { min: model.thresholds.score_threshold, max: 0.99, step: STEP });
  slider.value = view.threshold;
  slider.oninput = () => {
    view.threshold = Number(slider.value);
    byId("threshold-value").textContent = view.threshold.toFixed(2);
    changed();
  };
  byId("threshold-value").textContent = view.threshold.toFixed(2);
}

/**
 * @param {View} view
 * @param {() => void} changed
 */
function buildIou(view, changed) {
  const slider = byId("iou");
  let resting = 0;
  slider.value = view.iou;
  byId("iou-value").textContent = view.iou.toFixed(2);
  slider.oninput = () => {
    byId("iou-value").textContent = Number(slider.value).toFixed(2);
    clearTimeout(resting);
    resting = window.setTimeout(() => {
      view.iou = Number(slider.value);
      changed();
    }, RESTS_MS);
  };
}

/**
 * @param {import("./api.js").Model} model
 * @param {View} view
 * @param {() => void} changed
 */
function buildScales(model, view, changed) {
  const scales = model.scales.map((scale) => /** @type {[string, number]} */ ([String(scale), scale]));
  buildSegments("scales", scales, view.scale, (scale) => {
    if (view.other === scale) view.other = null;
    view.scale = scale;
    buildScales(model, view, changed);
    changed();
  });
  byId("compare-field").hidden = model.scales.length < 2;
  const others = scales.filter(([, scale]) => scale !== view.scale);
  buildSegments("others", [["none", null], ...others], view.other, (scale) => {
    view.other = scale;
    changed();
  });
}

/**
 * Radio buttons in a row. Rebuilt in place, they keep the keyboard's focus.
 * @param {string} id
 * @param {[string, any][]} choices
 * @param {any} chosen
 * @param {(value: any) => void} choose
 */
function buildSegments(id, choices, chosen, choose) {
  const place = byId(id);
  const held = place.contains(document.activeElement);
  place.replaceChildren(
    ...choices.map(([words, value]) => {
      const radio = el("input", {
        type: "radio", name: id, value: words, checked: value === chosen, onchange: () => choose(value),
      });
      return el("label", {}, radio, el("span", {}, words));
    }),
  );
  if (held) place.querySelector("input:checked")?.focus();
}

/**
 * A class's line as the picture has it.
 * @param {number} index
 */
function sample(index) {
  const line = svg("line", { x1: 1, y1: 6, x2: 17, y2: 6, stroke: colourOf(index), "stroke-dasharray": dashOf(index) });
  return svg("svg", { class: "sample", viewBox: "0 0 18 12", "aria-hidden": "true" }, line);
}
