"""Pictures on their canvases, and what preparing them takes."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.manifest import Manifest
from loadtest.bench.spread import Spread
from model.letterbox import Letterbox, fill_canvas, letterbox
from model.synthetic.scene import draw_scene
from service.cli.detect import find_pictures
from service.images import read_upright

DRAWN_IMAGES = 8
MAX_IMAGES = 32
DRAWN_QUALITY = 92


@dataclass(frozen=True)
class Prepared:
    """Images that share a canvas, and what it took to prepare each, in ms on one core.

    `images` uint8 [N, H, W, 3]; `places` says where each lies in its canvas.
    """

    images: NDArray[np.uint8]
    places: list[Letterbox]
    decode: Spread
    resize: Spread

    def batch(self, number: int, size: int) -> tuple[NDArray[np.uint8], list[Letterbox]]:
        """The images [size, H, W, 3] and places of the batch with this number, going round."""
        rows = [(number * size + row) % len(self.places) for row in range(size)]
        return self.images[rows], [self.places[row] for row in rows]


def pictures_to_time(folder: Path | None) -> tuple[list[bytes], str]:
    """Picture files' bytes and a line that says what they are: a folder's, or drawn scenes."""
    if folder:
        files = [picture.path for picture in find_pictures([folder])[:MAX_IMAGES]]
        return [file.read_bytes() for file in files], f"{len(files)} of {folder}"
    scenes = []
    for seed in range(DRAWN_IMAGES):
        buffer = io.BytesIO()
        Image.fromarray(draw_scene(seed).image).save(buffer, "JPEG", quality=DRAWN_QUALITY)
        scenes.append(buffer.getvalue())
    return scenes, f"{DRAWN_IMAGES} drawn scenes, JPEG of 640x480"


def prepare(pictures: Sequence[bytes], scale: int, manifest: Manifest) -> Prepared:
    """The pictures of the commonest canvas at a scale, decoded and resized several times over."""
    canvases = manifest.canvases_by_scale[scale]
    decode_ms, resize_ms, rows = [], [], []
    for picture in [*pictures, *pictures, *pictures]:
        start = time.perf_counter()
        image = read_upright(picture)
        decoded = time.perf_counter()
        place = letterbox((image.height, image.width), scale, canvases)
        canvas = np.zeros((*place.canvas, 3), np.uint8)
        fill_canvas(image, place, canvas)
        resize_ms.append((time.perf_counter() - decoded) * 1000.0)
        decode_ms.append((decoded - start) * 1000.0)
        rows.append((place, canvas))
    rows = rows[-len(pictures) :]
    commonest = Counter(place.canvas for place, _ in rows).most_common(1)[0][0]
    kept = [(place, canvas) for place, canvas in rows if place.canvas == commonest]
    return Prepared(
        np.stack([canvas for _, canvas in kept]),
        [place for place, _ in kept],
        Spread.of(decode_ms),
        Spread.of(resize_ms),
    )
