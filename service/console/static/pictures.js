// @ts-check
/**
 * The pictures of this session: files that stay where they are, and a URL to show each.
 *
 * @typedef {{file: string} | {url: string}} Source
 */

import { decodedByServer } from "./api.js";

let last = 0;

export class Picture {
  /**
   * @param {Blob} blob
   * @param {string} name
   * @param {Source} source where a command line finds it
   */
  constructor(blob, name, source) {
    this.id = ++last;
    this.blob = blob;
    this.name = name;
    this.source = source;
    /** What an <img> shows; "" until known, or where there is nothing to show. */
    this.url = "";
  }

  /** Has the browser show the file, if it can and shows it upright. */
  async showOwn() {
    if (this.url || (await isTurnedWebp(this.blob))) return;
    const own = URL.createObjectURL(this.blob);
    try {
      const image = new Image();
      image.src = own;
      await image.decode();
      this.url = this.blob.type === "image/gif" ? await firstFrame(image) : own;
    } catch {
      URL.revokeObjectURL(own);
    }
  }

  /**
   * Shows what the server makes of a file that the browser can't show: a TIFF, say.
   * @param {string} key the API key, or ""
   */
  async showDecoded(key) {
    if (!this.url) this.url = URL.createObjectURL(await decodedByServer(this.blob, key));
  }

  /** Gives its memory back. */
  drop() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }
}

/**
 * The pictures of a choice, drop or paste, in order.
 * @param {Iterable<File>} files
 */
export function picturesOf(files) {
  return Array.from(files, (file) => new Picture(file, file.name, { file: file.name }));
}

/**
 * The example that comes with the console.
 * @param {string} path
 */
export async function exampleOf(path) {
  const response = await fetch(path);
  const url = new URL(path, location.href).href;
  return new Picture(await response.blob(), "example.jpg", { url });
}

/**
 * Whether this is a WebP with EXIF, by which the server turns it and Chromium 156 does not.
 * @param {Blob} blob
 */
async function isTurnedWebp(blob) {
  const head = new Uint8Array(await blob.slice(0, 21).arrayBuffer());
  const words = String.fromCharCode(...head);
  const hasExif = Boolean(head[20] & 0x08); // of the chunk VP8X: the file's flags
  return words.startsWith("RIFF") && words.slice(8, 16) === "WEBPVP8X" && hasExif;
}

/**
 * The first frame of an animation, which is the one that the server looks at.
 * @param {HTMLImageElement} image
 */
async function firstFrame(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return URL.createObjectURL(await canvas.convertToBlob());
}
