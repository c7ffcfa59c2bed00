// @ts-check
/** The charts of what this server does, from /metrics each second while the page can be seen. */

import { Chart } from "./charts.js";
import { byId } from "./dom.js";
import { parseExposition } from "./exposition.js";
import { figuresOf, restarted } from "./rates.js";

/** @typedef {import("./rates.js").Scrape} Scrape */

const EVERY_MS = 1000;
/** Rates and percentiles are of so many seconds: one alone has few requests. */
const WINDOW_S = 5;

/**
 * Draws from now on, and tells `onModel` what identifies the model served and `onState` what /readyz says.
 * @param {(served: string) => void} onModel
 * @param {(state: string, words: string) => void} onState
 */
export function startLive(onModel, onState) {
  const charts = {
    rate: new Chart("Requests", "/s", ["answered a second"], 1),
    latency: new Chart("Latency", " ms", ["ms p50", "ms p99"], 1),
    queue: new Chart("Queue", "", ["images waiting"], 4),
    batch: new Chart("Batch", "", ["images on average"], 2),
    refused: new Chart("Refusals", "/s", ["refused or failed a second"], 1),
  };
  byId("charts").append(...Object.values(charts).map((chart) => chart.element));
  /** @type {{at: number, scrape: Scrape}[]} */
  let kept = [];
  let timer = 0;
  let turn = 0; // of a chain of ticks; an older chain ends

  /** @param {number} mine */
  async function tick(mine) {
    const [scrape] = await Promise.all([scrapeNow(), tellState(onState)]);
    if (mine !== turn) return;
    if (scrape) draw(scrape);
    byId("live-note").textContent = scrape ? "" : "no metrics at the moment";
    timer = window.setTimeout(tick, EVERY_MS, mine);
  }

  /** @param {Scrape} scrape */
  function draw(scrape) {
    const at = performance.now() / 1000;
    const last = kept.at(-1);
    if (last && restarted(last.scrape, scrape)) kept = [];
    while (kept.length > 1 && at - kept[1].at >= WINDOW_S) kept.shift();
    if (kept.length) {
      const now = figuresOf(kept[0].scrape, scrape, at - kept[0].at);
      charts.rate.push([now.rate]);
      charts.latency.push([now.p50, now.p99]);
      charts.queue.push([now.queue]);
      charts.batch.push([now.batch]);
      charts.refused.push([now.refused]);
    }
    kept.push({ at, scrape });
    const info = scrape.get("retinaserve_model_info")?.find((sample) => sample.value === 1);
    const reloads = scrape.get("retinaserve_reloads_total") ?? [];
    if (info) onModel(JSON.stringify([info.labels, reloads.find((sample) => sample.labels.result === "ok")]));
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    turn += 1;
    kept = []; // a window over the pause would say little of now
    if (!document.hidden) tick(turn);
  });
  tick(turn);
}

/** @returns {Promise<Scrape | null>} */
async function scrapeNow() {
  try {
    const response = await fetch("/metrics", { cache: "no-store" });
    return response.ok ? parseExposition(await response.text()) : null;
  } catch {
    return null;
  }
}

/** @param {(state: string, words: string) => void} onState */
async function tellState(onState) {
  try {
    const response = await fetch("/readyz", { cache: "no-store" });
    const body = await response.json();
    onState(response.ok ? "ready" : body.code, response.ok ? "ready" : body.detail);
  } catch {
    onState("gone", "no answer");
  }
}
