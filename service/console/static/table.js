// @ts-check
/** The detections as a table: what the picture shows, in words and numbers. */

import { colourOf } from "./colours.js";
import { byId, el } from "./dom.js";

export class Table {
  /** @param {(index: number) => void} selected called when a row is pressed */
  constructor(selected) {
    this.selected = selected;
    /** @type {Map<number, any>} */
    this.rows = new Map();
    /** @type {import("./api.js").Result | null} */
    this.result = null;
  }

  /**
   * @param {import("./api.js").Result | null} result
   * @param {number[]} visible indices, best first
   */
  show(result, visible) {
    if (result !== this.result) this.#build(result);
    const seen = new Set(visible);
    let number = 0;
    for (const [index, row] of this.rows) {
      row.hidden = !seen.has(index);
      if (!row.hidden) row.firstChild.textContent = ++number;
    }
    byId("none").hidden = !result || visible.length > 0;
  }

  /**
   * Marks one row, or none, and brings it into view within its box.
   * @param {number | null} marked
   */
  mark(marked) {
    for (const [index, row] of this.rows) {
      if (index !== marked) {
        row.removeAttribute("aria-current");
        continue;
      }
      row.setAttribute("aria-current", "true");
      const box = byId("table-box");
      const top = row.offsetTop - box.querySelector("thead").offsetHeight;
      if (top < box.scrollTop) box.scrollTop = top;
      const bottom = row.offsetTop + row.offsetHeight;
      if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    }
  }

  /** @param {import("./api.js").Result | null} result */
  #build(result) {
    this.result = result;
    this.rows.clear();
    for (const [index, found] of (result?.detections ?? []).entries()) {
      const swatch = el("span", { className: "swatch", "aria-hidden": "true" });
      swatch.style.background = colourOf(found.class_index);
      const row = el(
        "tr", { onclick: () => this.selected(index) },
        number(""), el("td", {}, swatch, found.label), number(found.score.toFixed(3)),
        ...found.box.map((side) => number(side.toFixed(1))),
      );
      row.dataset.index = index;
      this.rows.set(index, row);
    }
    byId("rows").replaceChildren(...this.rows.values());
  }
}

/** @param {string} text */
function number(text) {
  return el("td", { className: "number" }, text);
}
