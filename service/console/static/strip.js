// @ts-check
/** The row of small pictures, shown where there are several. */

import { byId, el } from "./dom.js";

/** @typedef {import("./pictures.js").Picture} Picture */

/** @type {Map<Picture, any>} */
const buttons = new Map();

/**
 * @param {Picture[]} pictures
 * @param {Picture | undefined} current
 * @param {(picture: Picture) => {mark: string, words: string}} badgeOf
 * @param {(picture: Picture) => void} open
 */
export function showStrip(pictures, current, badgeOf, open) {
  const strip = byId("strip");
  strip.hidden = pictures.length < 2;
  for (const [picture, button] of buttons) {
    if (pictures.includes(picture)) continue;
    button.remove();
    buttons.delete(picture);
  }
  if (strip.hidden) return;
  for (const picture of pictures) {
    let button = buttons.get(picture);
    if (!button) {
      button = el(
        "button", { type: "button", className: "thumb", title: picture.name, onclick: () => open(picture) },
        el("img", { alt: "" }), el("span", { className: "badge", "aria-hidden": "true" }),
      );
      buttons.set(picture, button);
      strip.append(button);
    }
    const [image, badge] = button.children;
    if (picture.url && image.src !== picture.url) image.src = picture.url;
    const { mark, words } = badgeOf(picture);
    badge.textContent = mark;
    button.setAttribute("aria-label", `${picture.name}, ${words}`);
    if (picture === current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}
