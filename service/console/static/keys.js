// @ts-check
/** The keys that go through the detections. */

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

/**
 * Arrows, Home and End step while a picture or the table has the focus; Escape leaves from anywhere.
 * @param {(by: number) => void} step
 * @param {() => void} leave
 */
export function startKeys(step, leave) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") return leave();
    const by = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    const at = event.target instanceof Element && event.target.closest(".frame, #table-box");
    if (by === undefined || !at) return;
    event.preventDefault();
    step(by);
  });
}
