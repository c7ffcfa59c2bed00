// @ts-check
/**
 * What this page asks of the server.
 *
 * @typedef {[number, number, number, number]} Box xyxy in pixels of the upright picture
 * @typedef {{box: Box, score: number, label: string, class_index: number}} Detection
 * @typedef {{model: {name: string, version: string}, image: {width: number, height: number},
 *   scale: number, detections: Detection[]}} Result
 * @typedef {{name: string, ms: number}} Stage
 * @typedef {{result: Result, stages: Stage[], wallMs: number}} Answer
 * @typedef {{name: string, version: string, classes: string[], scales: number[],
 *   default_scale: number, engine: string, precision: string,
 *   thresholds: {score_threshold: number, iou_threshold: number, max_detections: number}}} Model
 */

/** An error answer (RFC 9457), or in the same form that there was none. */
export class Problem extends Error {
  /**
   * @param {{status: number, title: string, detail: string, code: string, request_id?: string}} document
   * @param {number | null} [retryAfterS] when the server suggests to come back
   */
  constructor(document, retryAfterS = null) {
    super(document.detail);
    this.document = document;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * The model that is served. Throws Problem.
 * @returns {Promise<Model>}
 */
export async function servedModel() {
  const response = await send("/v1/models", {});
  return (await response.json()).models[0];
}

/**
 * The detections of a picture. Throws Problem, and AbortError when `signal` says so.
 * @param {Blob} picture
 * @param {string} query
 * @param {string} key the API key, or ""
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function detect(picture, query, key, signal) {
  const began = performance.now();
  const response = await post(picture, query, key, signal, "application/json");
  const result = await response.json();
  const wallMs = performance.now() - began;
  return { result, stages: stagesOf(response.headers.get("Server-Timing") ?? ""), wallMs };
}

/**
 * The picture as the server decodes it, upright, for a file that the browser can't show: the drawn
 * answer with a threshold that no box passes.
 * @param {Blob} picture
 * @param {string} key
 * @returns {Promise<Blob>}
 */
export async function decodedByServer(picture, key) {
  const response = await post(picture, "score_threshold=1", key, undefined, "image/jpeg");
  return response.blob();
}

/**
 * The stages of a Server-Timing header, in order.
 * @param {string} header
 * @returns {Stage[]}
 */
export function stagesOf(header) {
  const stages = [];
  for (const part of header.split(",")) {
    const match = /^\s*([\w-]+)\s*;.*\bdur=([\d.]+)/.exec(part);
    if (match) stages.push({ name: match[1], ms: Number(match[2]) });
  }
  return stages;
}

/**
 * @param {Blob} picture
 * @param {string} query
 * @param {string} key
 * @param {AbortSignal | undefined} signal
 * @param {string} accept
 */
function post(picture, query, key, signal, accept) {
  const headers = new Headers({ Accept: accept, "Content-Type": "application/octet-stream" });
  if (key) headers.set("Authorization", `Bearer ${key}`);
  return send(`/v1/detect?${query}`, { method: "POST", body: picture, headers, signal });
}

/**
 * The response, if it is a good one; throws Problem.
 * @param {string} path
 * @param {RequestInit} options
 */
async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem({
      status: 0,
      title: "No answer",
      detail: "The server could not be reached, or the picture could not be read any more.",
      code: "no_answer",
    });
  }
  if (response.ok) return response;
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new Problem(await problemOf(response), Number.isNaN(wait) ? null : wait);
}

/** @param {Response} response */
async function problemOf(response) {
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    return response.json();
  }
  return {
    status: response.status,
    title: response.statusText || "Error",
    detail: "The answer is not this server's own: something between may have given it.",
    code: "foreign_answer",
  };
}
