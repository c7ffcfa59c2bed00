// @ts-check
/** The console: what is shown is a function of the pictures, the view and the answers so far. */

import { Problem, detect, servedModel } from "./api.js";
import { Asker } from "./asker.js";
import { buildControls, showCounts } from "./controls.js";
import { bothPairs, counts, shown } from "./detections.js";
import { byId, say } from "./dom.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { exampleOf, picturesOf } from "./pictures.js";
import { showCommand, startCopying } from "./command.js";
import { showModel, showState } from "./top.js";
import { showSpread } from "./spread.js";
import { Stage } from "./stage.js";
import { showStrip } from "./strip.js";
import { Table } from "./table.js";
import { takeFiles } from "./taking.js";
import { showTimings } from "./timings.js";

/**
 * @typedef {import("./pictures.js").Picture} Picture
 * @typedef {{picture: Picture, scale: number, iou: number}} Question
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {{stage: number, index: number}} Mark
 */

/** What is worth a look as a rule; the slider goes down to the bundle's own threshold. */
const FIRST_THRESHOLD = 0.5;

/** @type {import("./api.js").Model | undefined} */
let model;
/** @type {import("./controls.js").View} */
let view;
/** @type {Picture[]} */
let pictures = [];
/** @type {Picture | undefined} */
let current;
/** @type {Mark | null} */
let mark = null;
/** @type {(Answer | undefined)[]} What each stage last had, to be shown until the next comes. */
let last = [];
let key = "";

/** @type {Asker<Question, Answer>} */
const asker = new Asker(ask, ({ picture, scale, iou }) => `${picture.id} ${scale} ${iou}`, answered);
const stages = [0, 1].map(
  (stage) => new Stage((index) => setMark(index === null ? null : { stage, index }), retry),
);
const table = new Table((index) => setMark({ stage: 0, index }));

/**
 * @param {Question} question
 * @param {AbortSignal} signal
 */
async function ask({ picture, scale, iou }, signal) {
  const { score_threshold, max_detections } = /** @type {NonNullable<typeof model>} */ (model).thresholds;
  const asked = { score_threshold, iou_threshold: iou, scale, max_detections };
  const query = Object.entries(asked).map((pair) => pair.join("=")).join("&");
  const [answer] = await Promise.all([detect(picture.blob, query, key, signal), picture.showOwn()]);
  await picture.showDecoded(key);
  return answer;
}

/** Asks for what the view needs, best first, and shows what there is. */
function show() {
  if (!model) return;
  byId("empty").hidden = Boolean(current);
  for (const id of ["panel", "results", "stages"]) byId(id).hidden = !current;
  const scales = view.other === null ? [view.scale] : [view.scale, view.other];
  const first = current ? [current] : [];
  const order = [...first, ...pictures.filter((picture) => picture !== current)];
  asker.want([
    ...first.flatMap((picture) => scales.map((scale) => ({ picture, scale, iou: view.iou }))),
    ...order.slice(1).map((picture) => ({ picture, scale: view.scale, iou: view.iou })),
  ]);
  draw();
}

function answered() {
  const failure = current && failureOf(current, view.scale);
  const locked = failure instanceof Problem && failure.document.status === 401;
  if (locked && byId("key-form").hidden) {
    byId("key-form").hidden = false;
    byId("key").focus();
  }
  draw();
  const answer = current && answerOf(current, view.scale);
  if (answer && current) tellCount(answer);
}

function retry() {
  asker.retry();
  draw();
}

/** Shows the current picture as far as its answers have come. */
function draw() {
  showStrip(pictures, current, badgeOf, open);
  if (!current || !model) return;
  const scales = [view.scale, view.other];
  const found = scales.map((scale, index) => {
    if (scale === null) return undefined;
    const answer = answerOf(/** @type {Picture} */ (current), scale);
    if (answer) last[index] = answer;
    return failureOf(/** @type {Picture} */ (current), scale) ? undefined : last[index];
  });
  const visible = found.map((answer) =>
    answer ? shown(answer.result.detections, view.threshold, view.leftOut) : [],
  );
  const same = bothPairs(found.map((answer) => answer?.result.detections), visible);
  if (mark && !visible[mark.stage].includes(mark.index)) mark = null;

  byId("stages").classList.toggle("two", view.other !== null);
  stages[1].element.hidden = view.other === null;
  stages.forEach((stage, index) => {
    const scale = scales[index];
    if (scale === null || !current) return;
    stage.show(current, `at scale ${scale}`, answerOf(current, scale), failureOf(current, scale));
    const answer = found[index];
    const pairsOf = same?.[index];
    const alone = pairsOf ? visible[index].filter((each) => !pairsOf.has(each)) : [];
    if (answer) stage.draw(answer, visible[index], new Set(alone));
  });
  showMark(same);
  const detections = found[0]?.result.detections ?? [];
  byId("found").hidden = Boolean(failureOf(current, view.scale));
  table.show(found[0]?.result ?? null, visible[0]);
  table.mark(markIn(0, same));
  showCounts(counts(detections, view.threshold, model.classes.length));
  showSpread(detections, model.thresholds.score_threshold, view.threshold);
  showTimings(found[0]);
  showCommand(model, view, current.source, Boolean(key));
}

/**
 * The index marked in one stage: its own mark, or the same object's.
 * @param {number} stage
 * @param {[Map<number, number>, Map<number, number>] | null} same
 */
function markIn(stage, same) {
  if (!mark) return null;
  return mark.stage === stage ? mark.index : (same?.[mark.stage].get(mark.index) ?? null);
}

/** @param {[Map<number, number>, Map<number, number>] | null} same */
function showMark(same) {
  stages.forEach((stage, index) => stage.overlay.mark(markIn(index, same)));
}

/** @param {Mark | null} next */
function setMark(next) {
  mark = next;
  draw();
  const answer = mark && last[mark.stage];
  if (!mark || !answer) return;
  const { label, score, box } = answer.result.detections[mark.index];
  const [left, top, right, bottom] = box.map(Math.round);
  say(`${label}, score ${score.toFixed(2)}, from ${left}, ${top} to ${right}, ${bottom}`);
}

/**
 * Moves the mark through what is shown: by so many, or to either end.
 * @param {number} by
 */
function step(by) {
  const answer = last[0];
  if (!answer || !current) return;
  const visible = shown(answer.result.detections, view.threshold, view.leftOut);
  if (!visible.length) return;
  const at = mark?.stage === 0 ? visible.indexOf(mark.index) : -1;
  const next = at < 0 && by < 0 ? visible.length - 1 : at + by;
  setMark({ stage: 0, index: visible[Math.max(0, Math.min(visible.length - 1, next))] });
}

/** @param {Answer} answer */
function tellCount(answer) {
  const count = shown(answer.result.detections, view.threshold, view.leftOut).length;
  say(`${count} detections above ${view.threshold.toFixed(2)} in ${current?.name}`);
}

/**
 * @param {Picture} picture
 * @param {number} scale
 */
function answerOf(picture, scale) {
  return asker.answers.get(asker.keyOf({ picture, scale, iou: view.iou }));
}

/**
 * @param {Picture} picture
 * @param {number} scale
 */
function failureOf(picture, scale) {
  return asker.failures.get(asker.keyOf({ picture, scale, iou: view.iou }));
}

/** @param {Picture} picture */
function badgeOf(picture) {
  if (failureOf(picture, view.scale)) return { mark: "!", words: "an error" };
  const answer = answerOf(picture, view.scale);
  if (!answer) return { mark: "…", words: "under way" };
  const count = shown(answer.result.detections, view.threshold, view.leftOut).length;
  return { mark: String(count), words: `${count} detections` };
}

/** @param {Picture} picture */
function open(picture) {
  if (picture !== current) last = [];
  current = picture;
  mark = null;
  picture.showOwn().then(draw);
  show();
}

/** @param {Picture[]} more */
function add(more) {
  if (!more.length) return;
  pictures = [...pictures, ...more];
  open(more[0]);
}

function clear() {
  for (const picture of pictures) picture.drop();
  [pictures, current, last, mark] = [[], undefined, [], null];
  show();
  byId("example").focus();
}

/** Reads what is served, at the start and when another model has taken its place. */
async function loadModel() {
  let next;
  try {
    next = await servedModel();
  } catch {
    return; // the header says that there is no answer; the next tick tries again
  }
  const { score_threshold, iou_threshold } = next.thresholds;
  const old = view;
  const kept = old && next.scales.includes(old.scale);
  view = {
    threshold: Math.max(old?.threshold ?? FIRST_THRESHOLD, score_threshold),
    iou: old?.iou ?? iou_threshold,
    scale: kept ? old.scale : next.default_scale,
    other: kept && old.other !== null && next.scales.includes(old.other) ? old.other : null,
    leftOut: new Set(),
  };
  model = next;
  last = [];
  showModel(next);
  buildControls(next, view, () => {
    show();
    const answer = current && answerOf(current, view.scale);
    if (answer) tellCount(answer);
  });
  asker.forget();
  show();
}

function start() {
  let served = "";
  let state = "";
  byId("stages").append(...stages.map((stage) => stage.element));
  byId("example").addEventListener("click", async () => add([await exampleOf("/console/example.jpg")]));
  byId("clear").addEventListener("click", clear);
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    key = byId("key").value;
    byId("key-form").hidden = true;
    retry();
  });
  startCopying();
  takeFiles((files) => add(picturesOf(files)));
  startKeys(step, () => setMark(null));
  loadModel();
  startLive(
    (info) => {
      if (served && served !== info) loadModel();
      served = info;
    },
    (code, words) => {
      if (code !== state && code === "ready") retry(); // what failed meanwhile
      if (!model && code !== "gone") loadModel();
      state = code;
      showState(code, words);
    },
  );
}

start();
