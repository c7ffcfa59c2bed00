// @ts-check
/**
 * What happened between two scrapes: counters and histograms only ever grow, so their differences
 * say it, and of several replicas they would add up.
 *
 * @typedef {import("./exposition.js").Sample} Sample
 * @typedef {Map<string, Sample[]>} Scrape
 */

const OUTCOMES = { rate: ["ok"], refused: ["rejected", "timeout", "error"] };

/**
 * The figures of the charts; null where there is nothing to say.
 * @param {Scrape} before
 * @param {Scrape} now
 * @param {number} seconds between the two
 */
export function figuresOf(before, now, seconds) {
  const detect = { route: "/v1/detect" };
  const requests = (/** @type {string[]} */ outcomes) =>
    outcomes.reduce((sum, outcome) => {
      const labels = { ...detect, outcome };
      return sum + grown(before, now, "retinaserve_requests_total", labels);
    }, 0) / seconds;
  const duration = buckets(before, now, "retinaserve_request_duration_seconds");
  const batches = grown(before, now, "retinaserve_batch_size_count", {});
  return {
    rate: requests(OUTCOMES.rate),
    refused: requests(OUTCOMES.refused),
    p50: milliseconds(quantile(duration, 0.5)),
    p99: milliseconds(quantile(duration, 0.99)),
    queue: value(now, "retinaserve_queue_depth", {}),
    batch: batches ? grown(before, now, "retinaserve_batch_size_sum", {}) / batches : null,
  };
}

/**
 * Whether the server was started anew in between, so that differences mean nothing.
 * @param {Scrape} before
 * @param {Scrape} now
 */
export function restarted(before, now) {
  return grown(before, now, "process_start_time_seconds", {}) !== 0;
}

/**
 * The cumulative buckets of what was observed between two scrapes, in order.
 * @param {Scrape} before
 * @param {Scrape} now
 * @param {string} name
 * @returns {{le: number, count: number}[]}
 */
export function buckets(before, now, name) {
  const les = (now.get(`${name}_bucket`) ?? []).map((sample) => sample.labels.le);
  return les
    .map((le) => ({
      le: le === "+Inf" ? Infinity : Number(le),
      count: grown(before, now, `${name}_bucket`, { le }),
    }))
    .sort((one, other) => one.le - other.le);
}

/**
 * A quantile of cumulative buckets, evenly spread inside each, as Prometheus's histogram_quantile
 * has it; null of nothing.
 * @param {{le: number, count: number}[]} cumulative
 * @param {number} q
 */
export function quantile(cumulative, q) {
  const total = cumulative.at(-1)?.count ?? 0;
  if (!total) return null;
  const rank = q * total;
  let [below, floor] = [0, 0];
  for (const { le, count } of cumulative) {
    if (count >= rank && count > below) {
      return le === Infinity ? floor : floor + ((rank - below) / (count - below)) * (le - floor);
    }
    [below, floor] = [count, le];
  }
  return floor;
}

/**
 * @param {Scrape} before
 * @param {Scrape} now
 * @param {string} name
 * @param {Record<string, string>} labels
 */
function grown(before, now, name, labels) {
  return value(now, name, labels) - value(before, name, labels);
}

/**
 * The sum of a family's samples that have these labels.
 * @param {Scrape} scrape
 * @param {string} name
 * @param {Record<string, string>} labels
 */
function value(scrape, name, labels) {
  const wanted = Object.entries(labels);
  return (scrape.get(name) ?? [])
    .filter((sample) => wanted.every(([label, text]) => sample.labels[label] === text))
    .reduce((sum, sample) => sum + sample.value, 0);
}

/** @param {number | null} seconds */
function milliseconds(seconds) {
  return seconds === null ? null : seconds * 1000;
}
