// @ts-check
/**
 * The colour and dash of a class. Okabe and Ito's palette can be told apart with any colour vision
 * (https://jfly.uni-koeln.de/color/); past its seven the dash changes, and a label says it in words.
 */

const PALETTE = ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const DASHES = ["", "6 3", "2 2"];
const DARK = new Set(["#0072b2"]);

/** @param {number} index */
export function colourOf(index) {
  return PALETTE[index % PALETTE.length];
}

/**
 * The stroke-dasharray of a class's boxes.
 * @param {number} index
 */
export function dashOf(index) {
  return DASHES[Math.floor(index / PALETTE.length) % DASHES.length];
}

/**
 * The colour of text on a class's colour.
 * @param {number} index
 */
export function inkOn(index) {
  return DARK.has(colourOf(index)) ? "#ffffff" : "#111111";
}
