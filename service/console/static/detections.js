// @ts-check
/**
 * What of an answer is shown. The server was asked for all it has; the rest is chosen here, by the
 * same rules that it has for `score_threshold` and `classes`.
 *
 * @typedef {import("./api.js").Detection} Detection
 */

const SAME_OBJECT_IOU = 0.5;

/**
 * The indices of the detections that score above the threshold and are of a class not left out.
 * @param {Detection[]} detections
 * @param {number} threshold
 * @param {Set<number>} leftOut class indices
 */
export function shown(detections, threshold, leftOut) {
  const indices = [];
  for (const [index, found] of detections.entries()) {
    if (found.score > threshold && !leftOut.has(found.class_index)) indices.push(index);
  }
  return indices;
}

/**
 * How many detections of each class score above the threshold.
 * @param {Detection[]} detections
 * @param {number} threshold
 * @param {number} classes
 */
export function counts(detections, threshold, classes) {
  const found = new Array(classes).fill(0);
  for (const { score, class_index } of detections) if (score > threshold) found[class_index] += 1;
  return found;
}

/**
 * Intersection over union of two xyxy boxes; 0 where both are empty.
 * @param {import("./api.js").Box} one
 * @param {import("./api.js").Box} other
 */
export function iou(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const both = Math.max(0, width) * Math.max(0, height);
  const all = area(one) + area(other) - both;
  return all > 0 ? both / all : 0;
}

/** @param {import("./api.js").Box} box */
export function area(box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

/**
 * Which detections of two answers are the same object: pairs of equal class that overlap by at
 * least half, each at most once, best scores and then best overlap first.
 * @param {Detection[]} ours
 * @param {number[]} ourIndices
 * @param {Detection[]} theirs
 * @param {number[]} theirIndices
 * @returns {Map<number, number>} from ours to theirs
 */
export function pairs(ours, ourIndices, theirs, theirIndices) {
  const pairs = new Map();
  const free = new Set(theirIndices);
  for (const index of ourIndices) {
    let best = -1;
    let bestIou = SAME_OBJECT_IOU;
    for (const other of free) {
      if (theirs[other].class_index !== ours[index].class_index) continue;
      const overlap = iou(ours[index].box, theirs[other].box);
      if (overlap >= bestIou) [best, bestIou] = [other, overlap];
    }
    if (best < 0) continue;
    pairs.set(index, best);
    free.delete(best);
  }
  return pairs;
}

/**
 * The pairs of two answers from each side; null unless there are two.
 * @param {(Detection[] | undefined)[]} found
 * @param {number[][]} visible
 * @returns {[Map<number, number>, Map<number, number>] | null}
 */
export function bothPairs([ours, theirs], visible) {
  if (!ours || !theirs) return null;
  const there = pairs(ours, visible[0], theirs, visible[1]);
  return [there, new Map([...there].map(([one, other]) => [other, one]))];
}
