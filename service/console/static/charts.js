// @ts-check
/** A small line chart of the last minutes: one value a second, a gap where there was none. */

import { el, svg } from "./dom.js";

const POINTS = 120;
const WIDTH = 240;
const HEIGHT = 56;

export class Chart {
  /**
   * @param {string} title
   * @param {string} unit of the maximum
   * @param {string[]} lines what each figure is; under the first the chart is filled
   * @param {number} least what the top of the chart stands for at the least
   */
  constructor(title, unit, lines, least) {
    this.title = title;
    this.unit = unit;
    this.least = least;
    this.lines = lines;
    /** @type {(number | null)[][]} */
    this.values = lines.map(() => []);
    this.figures = lines.map(() => el("span", { className: "figure" }, "–"));
    this.paths = lines.map((_, index) => svg("path", { class: `curve curve-${index}` }));
    this.ground = svg("path", { class: "ground" });
    this.top = el("small");
    this.picture = svg(
      "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
      this.ground, ...this.paths,
    );
    const figures = lines.map((name, index) =>
      el("span", { className: `value value-${index}` }, this.figures[index], el("small", {}, name)),
    );
    this.element = el(
      "figure", { className: "chart" },
      el("figcaption", { className: "row" }, title, this.top), el("p", { className: "values" }, ...figures),
      el("div", { className: "plot" }, this.picture),
    );
  }

  /**
   * Adds a value to each line and draws.
   * @param {(number | null)[]} values
   */
  push(values) {
    this.values.forEach((line, index) => {
      line.push(values[index]);
      if (line.length > POINTS) line.shift();
      this.figures[index].textContent = text(values[index]);
    });
    const most = Math.max(...this.values.flat().map((value) => value ?? 0));
    const top = Math.max(this.least, most);
    this.top.textContent = `max ${text(most)}${this.unit}`;
    this.paths.forEach((path, index) => path.setAttribute("d", curve(this.values[index], top)));
    this.ground.setAttribute("d", ground(this.values[0], top));
    const now = this.lines.map((name, index) => `${text(values[index])} ${name}`).join(", ");
    this.picture.setAttribute(
      "aria-label", `${this.title}: now ${now}; at most ${text(most)}${this.unit} in the last two minutes`,
    );
  }
}

/**
 * @param {(number | null)[]} values
 * @param {number} top
 */
function points(values, top) {
  const step = WIDTH / (POINTS - 1);
  const first = POINTS - values.length;
  return values.map((value, index) =>
    value === null ? null : [(first + index) * step, HEIGHT - 2 - (value / top) * (HEIGHT - 6)],
  );
}

/**
 * @param {(number | null)[]} values
 * @param {number} top
 */
function curve(values, top) {
  let path = "";
  let pen = "M";
  for (const point of points(values, top)) {
    // A lone value still leaves a mark: a round cap of no length.
    if (point) path += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}${pen === "M" ? "h0" : ""}`;
    pen = point ? "L" : "M";
  }
  return path;
}

/**
 * What lies under the first line, each value down to the axis.
 * @param {(number | null)[]} values
 * @param {number} top
 */
function ground(values, top) {
  let path = "";
  /** @type {number[][]} */
  let run = [];
  for (const point of [...points(values, top), null]) {
    if (point) {
      run.push(point);
    } else if (run.length) {
      const line = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      path += `M${run[0][0].toFixed(1)} ${HEIGHT}L${line}L${run[run.length - 1][0].toFixed(1)} ${HEIGHT}Z`;
      run = [];
    }
  }
  return path;
}

/** @param {number | null} value */
function text(value) {
  if (value === null) return "–";
  if (value >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}
