// @ts-check
/**
 * Boxes and labels over a picture, in the picture's own pixels: the drawing scales with it, while
 * lines and text keep their size on the screen.
 *
 * @typedef {import("./api.js").Result} Result
 */

import { colourOf, dashOf, inkOn } from "./colours.js";
import { area } from "./detections.js";
import { svg } from "./dom.js";

const FONT_PX = 12;
const FONT = `600 ${FONT_PX}px system-ui, sans-serif`;
const PAD_PX = 3;

export class Overlay {
  constructor() {
    this.element = svg("svg", { class: "overlay", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.boxes = svg("g");
    this.labels = svg("g");
    this.element.append(this.boxes, this.labels);
    /** @type {Result | null} */
    this.result = null;
    /** @type {Map<number, SVGElement>} */
    this.nodes = new Map();
    /** @type {number[]} */
    this.visible = [];
    /** @type {number | null} */
    this.marked = null;
    this.text = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    new ResizeObserver(() => this.#label()).observe(this.element);
  }

  /**
   * Draws what of a result is visible.
   * @param {Result | null} result
   * @param {number[]} visible indices, best first
   * @param {Set<number>} alone indices to set off: found here and not beside it
   */
  show(result, visible, alone) {
    if (result !== this.result) this.#build(result);
    this.visible = visible;
    const seen = new Set(visible);
    for (const [index, node] of this.nodes) {
      node.toggleAttribute("hidden", !seen.has(index));
      node.classList.toggle("alone", alone.has(index));
    }
    this.#label();
  }

  /**
   * Brings one detection forward, or none.
   * @param {number | null} index
   */
  mark(index) {
    this.marked = index;
    this.element.classList.toggle("marking", index !== null);
    for (const [each, node] of this.nodes) node.classList.toggle("marked", each === index);
    this.#label();
  }

  /**
   * The smallest visible box at a place on the screen; null where there is none.
   * @param {number} clientX
   * @param {number} clientY
   */
  at(clientX, clientY) {
    if (!this.result) return null;
    const { detections, image } = this.result;
    const frame = this.element.getBoundingClientRect();
    const x = ((clientX - frame.left) / frame.width) * image.width;
    const y = ((clientY - frame.top) / frame.height) * image.height;
    let best = null;
    for (const index of this.visible) {
      const box = detections[index].box;
      const inside = x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
      if (inside && (best === null || area(box) < area(detections[best].box))) best = index;
    }
    return best;
  }

  /** @param {Result | null} result */
  #build(result) {
    this.result = result;
    this.nodes.clear();
    this.boxes.replaceChildren();
    if (!result) return;
    this.element.setAttribute("viewBox", `0 0 ${result.image.width} ${result.image.height}`);
    for (const [index, { box, class_index }] of result.detections.entries()) {
      const place = { x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1] };
      const colour = colourOf(class_index);
      const halo = svg("rect", { ...place, class: "halo" });
      const line = svg("rect", {
        ...place, class: "line", stroke: colour, fill: colour, "stroke-dasharray": dashOf(class_index),
      });
      const node = svg("g", { class: "detection", "data-index": index }, halo, line);
      this.nodes.set(index, node);
      this.boxes.prepend(node); // the best lie on top
    }
  }

  /** Writes the labels that hide no better one's. */
  #label() {
    this.labels.replaceChildren();
    const frame = this.element.getBoundingClientRect();
    if (!this.result || !frame.width) return;
    const { width, height } = this.result.image;
    const unit = width / frame.width; // picture pixels of one screen pixel
    /** @type {number[][]} */
    const taken = [];
    const rest = this.visible.filter((index) => index !== this.marked);
    for (const index of this.marked === null ? rest : [this.marked, ...rest]) {
      const { box, score, label, class_index } = this.result.detections[index];
      const words = `${label} ${score.toFixed(2)}`;
      this.text.font = FONT;
      const w = (this.text.measureText(words).width + 2 * PAD_PX) * unit;
      const h = (FONT_PX + 2 * PAD_PX) * unit;
      const x = Math.max(0, Math.min(box[0], width - w));
      const y = box[1] >= h ? box[1] - h : Math.min(box[1], Math.max(0, height - h));
      const place = [x, y, x + w, y + h];
      if (taken.some((other) => overlap(place, other))) continue;
      taken.push(place);
      const ground = svg("rect", { x, y, width: w, height: h, fill: colourOf(class_index), rx: 2 * unit });
      const text = svg("text", {
        x: x + PAD_PX * unit, y: y + (FONT_PX + 1) * unit, "font-size": FONT_PX * unit, fill: inkOn(class_index),
      }, words);
      const marked = index === this.marked ? " marked" : "";
      this.labels.append(svg("g", { class: `label${marked}` }, ground, text));
    }
  }
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
function overlap(one, other) {
  return one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];
}
