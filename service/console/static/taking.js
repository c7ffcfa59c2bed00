// @ts-check
/** The three ways that a picture gets onto the page: chosen, dropped, pasted. */

import { byId } from "./dom.js";

/**
 * Calls `take` with the files of each choice, drop and paste.
 * @param {(files: File[]) => void} take
 */
export function takeFiles(take) {
  const input = byId("files");
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
  takeDrops(take);
}

/** @param {(files: File[]) => void} take */
function takeDrops(take) {
  const veil = byId("veil");
  let depth = 0; // of elements entered and not left
  /** @param {DragEvent} event */
  const withFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!withFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!withFiles(event)) return;
    depth -= 1;
    veil.hidden = depth <= 0;
  });
  document.addEventListener("dragover", (event) => {
    if (withFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
