// @ts-check
/**
 * One picture with what was found in it at one scale, or with why nothing was.
 *
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {import("./pictures.js").Picture} Picture
 */

import { Problem } from "./api.js";
import { el } from "./dom.js";
import { Overlay } from "./overlay.js";

/** Of the window's height, what a picture may take. */
const TALLEST_VH = 66;

export class Stage {
  /**
   * @param {(index: number | null) => void} selected called when a box, or none, is pressed
   * @param {() => void} retry
   */
  constructor(selected, retry) {
    this.retry = retry;
    this.overlay = new Overlay();
    this.title = el("span");
    this.count = el("span", { className: "muted" });
    this.image = el("img", { alt: "", draggable: false });
    this.frame = el("div", { className: "frame", tabIndex: 0, role: "group" }, this.image, this.overlay.element);
    this.problem = el("div", { className: "problem", role: "alert", hidden: true });
    this.element = el(
      "figure", { className: "stage" },
      el("figcaption", { className: "row" }, this.title, this.count), this.frame, this.problem,
    );
    this.frame.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      selected(this.overlay.at(event.clientX, event.clientY));
    });
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {Error | null} */
    this.failure = null;
  }

  /**
   * Shows a picture; without an answer yet, its last boxes stay, dimmed.
   * @param {Picture} picture
   * @param {string} title
   * @param {Answer | undefined} answer
   * @param {Error | undefined} failure
   */
  show(picture, title, answer, failure) {
    this.title.replaceChildren(el("strong", {}, picture.name), ` ${title}`);
    if (this.picture !== picture || failure) this.overlay.show(null, [], new Set());
    if (this.picture !== picture) this.count.textContent = "";
    this.picture = picture;
    if (picture.url && this.image.src !== picture.url) this.image.src = picture.url;
    this.image.hidden = !picture.url;
    this.image.alt = picture.name;
    const width = answer?.result.image.width ?? this.image.naturalWidth;
    const height = answer?.result.image.height ?? this.image.naturalHeight;
    if (width && height) {
      this.frame.style.aspectRatio = `${width} / ${height}`;
      this.frame.style.width = `min(100%, ${(TALLEST_VH * width) / height}vh)`;
    }
    this.element.classList.toggle("waiting", !answer && !failure);
    this.element.setAttribute("aria-busy", String(!answer && !failure));
    this.#tell(failure ?? null);
  }

  /**
   * Draws the boxes of an answer and says how many there are.
   * @param {Answer} answer
   * @param {number[]} visible
   * @param {Set<number>} alone
   */
  draw(answer, visible, alone) {
    const all = answer.result.detections.length;
    const apart = alone.size ? `, ${alone.size} only here` : "";
    this.count.textContent = `${visible.length} shown of ${all}${apart}`;
    this.frame.setAttribute(
      "aria-label",
      `${this.picture?.name}: ${visible.length} detections. Arrow keys go through them, Escape leaves.`,
    );
    this.overlay.show(answer.result, visible, alone);
  }

  /** @param {Error | null} failure */
  #tell(failure) {
    this.problem.hidden = !failure;
    this.frame.hidden = Boolean(failure) && !this.picture?.url;
    if (failure === this.failure) return;
    this.failure = failure;
    this.problem.replaceChildren();
    if (!failure) return;
    this.count.textContent = "";
    this.frame.setAttribute("aria-label", `${this.picture?.name}: no answer`);
    const known = failure instanceof Problem;
    const facts = known ? failure.document : { status: 0, title: "Error", detail: failure.message, code: "page" };
    const wait = known && failure.retryAfterS !== null ? ` Come back in ${failure.retryAfterS} s.` : "";
    const rows = [["code", facts.code], ["request_id", facts.request_id ?? ""]].filter(([, value]) => value);
    this.problem.append(
      el("p", { className: "lead" }, `${facts.status || ""} ${facts.title}`.trim()),
      el("p", {}, sentence(facts.detail) + wait),
      el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("button", { type: "button", onclick: this.retry }, "Try again"),
    );
  }
}

/**
 * A detail as a sentence of its own.
 * @param {string} text
 */
function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
