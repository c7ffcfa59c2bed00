// @ts-check
/** How the scores are spread: a column for each twentieth, those above the threshold in full. */

import { byId, svg } from "./dom.js";

const COLUMNS = 20;

/**
 * @param {import("./api.js").Detection[]} detections
 * @param {number} lowest the slider's minimum
 * @param {number} threshold
 */
export function showSpread(detections, lowest, threshold) {
  const columns = new Array(COLUMNS).fill(0);
  for (const { score } of detections) {
    const part = (score - lowest) / (1 - lowest);
    columns[Math.max(0, Math.min(COLUMNS - 1, Math.floor(part * COLUMNS)))] += 1;
  }
  const most = Math.max(...columns, 1);
  const width = 100 / COLUMNS;
  const cut = ((threshold - lowest) / (1 - lowest)) * COLUMNS;
  byId("spread").replaceChildren(
    ...columns.map((count, index) => {
      // By the root: the many low scores would leave nothing to see of the few high ones.
      const height = Math.sqrt(count / most) * 20;
      const kept = index + 0.5 >= cut ? "kept" : "cut";
      return svg("rect", { x: index * width + 0.4, y: 20 - height, width: width - 0.8, height, class: kept });
    }),
  );
}
