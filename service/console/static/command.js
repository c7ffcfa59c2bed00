// @ts-check
/** The command line that does what the page just did, to be copied. */

import { curlCommand, queryOf } from "./curl.js";
import { byId, say } from "./dom.js";

/**
 * @param {import("./api.js").Model} model
 * @param {import("./controls.js").View} view
 * @param {import("./pictures.js").Source} source
 * @param {boolean} withKey
 */
export function showCommand(model, view, source, withKey) {
  const chosen = model.classes.filter((_, index) => !view.leftOut.has(index));
  const scales = view.other === null ? [view.scale] : [view.scale, view.other];
  const commands = scales.map((scale) => {
    const classes = view.leftOut.size ? chosen : null;
    const query = queryOf({ threshold: view.threshold, iou: view.iou, scale, classes }, model);
    return curlCommand(source, `${location.origin}/v1/detect?${query}`, withKey);
  });
  byId("curl").textContent = chosen.length ? commands.join("\n\n") : "";
  byId("copy").disabled = !chosen.length;
  const where = "file" in source ? "To be run in the folder of the picture." : "";
  byId("curl-note").textContent = chosen.length ? where : "No class is chosen: there is nothing to ask.";
}

/** Has the button copy the command. */
export function startCopying() {
  const button = byId("copy");
  button.addEventListener("click", async () => {
    const done = await copied(byId("curl"));
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    say(done ? "The command is copied" : "The command is selected: press Control C");
    setTimeout(() => {
      button.textContent = "Copy";
    }, 2000);
  });
}

/**
 * Copies an element's text. Without a secure context there is no clipboard to write to: then the
 * text is left selected.
 * @param {HTMLElement} element
 */
async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent ?? "");
    return true;
  } catch {
    getSelection()?.selectAllChildren(element);
    return document.execCommand("copy");
  }
}
