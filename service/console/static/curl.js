// @ts-check
/**
 * The command that answers what the page shows.
 *
 * @typedef {{threshold: number, iou: number, scale: number, classes: string[] | null}} Asked
 *   `classes` null asks for all
 * @typedef {import("./api.js").Model} Model
 */

/**
 * The query of /v1/detect for what is shown. What is the bundle's default is left out, but for the
 * scale, the threshold, and the number of detections, of which the page asks for all there are.
 * @param {Asked} asked
 * @param {Model} model
 */
export function queryOf(asked, model) {
  const parts = [`score_threshold=${asked.threshold}`, `scale=${asked.scale}`];
  if (asked.iou !== model.thresholds.iou_threshold) parts.push(`iou_threshold=${asked.iou}`);
  if (asked.classes) parts.push(`classes=${classesOf(asked.classes, model).join(",")}`);
  parts.push(`max_detections=${model.thresholds.max_detections}`);
  return parts.join("&");
}

/**
 * A line for a POSIX shell that sends a picture. A file is named as it was chosen, so the command
 * works in its folder; an example comes from its URL.
 * @param {{file: string} | {url: string}} source
 * @param {string} url
 * @param {boolean} withKey
 */
export function curlCommand(source, url, withKey) {
  const key = withKey ? ' \\\n  -H "Authorization: Bearer $RETINASERVE_API_KEY"' : "";
  if ("url" in source) {
    return `curl -s ${quoted(source.url)} |\n  curl --data-binary @-${key} \\\n  ${quoted(url)}`;
  }
  // Alone, "@-" would be the standard input.
  const name = source.file.startsWith("-") ? `./${source.file}` : source.file;
  return `curl --data-binary ${quoted(`@${name}`)}${key} \\\n  ${quoted(url)}`;
}

/**
 * A word that a POSIX shell reads as this text.
 * @param {string} text
 */
export function quoted(text) {
  return /^[\w@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * Classes by name, or by index where a name would be misread.
 * @param {string[]} names
 * @param {Model} model
 */
function classesOf(names, model) {
  return names.map((name) => {
    const plain = name.trim() === name && !/[,]|^\d+$/.test(name);
    return plain ? encodeURIComponent(name) : String(model.classes.indexOf(name));
  });
}
