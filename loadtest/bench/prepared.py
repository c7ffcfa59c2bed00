"""Pictures on their canvases, and what preparing them takes."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.manifest import Manifest
from loadtest.bench.spread import Spread
from model.errors import InputError
from model.letterbox import Letterbox
from model.synthetic.scene import draw_scene
from service.cli.detect import find_pictures
from service.errors import Problem
from service.pictures.images import prepare_image, read_upright

DRAWN_IMAGES = 8
MAX_IMAGES = 32
DRAWN_QUALITY = 92
TRIES = 3


class Batch(NamedTuple):
    """What a session runs: `images` uint8 [B, H, W, 3], `image_sizes` [B, 2], and their places."""

    images: NDArray[np.uint8]
    image_sizes: NDArray[np.int64]
    places: list[Letterbox]


@dataclass(frozen=True)
class Prepared:
    """Images that share a canvas, and what it took to prepare a picture, in ms on one core.

    `images` uint8 [N, H, W, 3]; `places` says where each lies in its canvas.
    """

    images: NDArray[np.uint8]
    places: list[Letterbox]
    preprocess: Spread

    def batch(self, number: int, size: int) -> Batch:
        """The batch of `size` images with this number, going round."""
        rows = [(number * size + row) % len(self.places) for row in range(size)]
        places = [self.places[row] for row in rows]
        sizes = np.array([place.resized for place in places], np.int64)
        return Batch(self.images[rows], sizes, places)


def pictures_to_time(folder: Path | None) -> tuple[list[bytes], str]:
    """Picture files' bytes and a line that says what they are: a folder's, or drawn scenes.

    Raises InputError for a folder without pictures, or with one that does not decode.
    """
    if folder:
        files = [picture.path for picture in find_pictures([folder])[:MAX_IMAGES]]
        return [_checked(file) for file in files], f"{len(files)} of {folder}"
    scenes = []
    for seed in range(DRAWN_IMAGES):
        buffer = io.BytesIO()
        Image.fromarray(draw_scene(seed).image).save(buffer, "JPEG", quality=DRAWN_QUALITY)
        scenes.append(buffer.getvalue())
    return scenes, f"{DRAWN_IMAGES} drawn scenes, JPEG of 640x480"


def _checked(file: Path) -> bytes:
    picture = file.read_bytes()
    try:
        read_upright(picture)
    except Problem as problem:
        raise InputError(f"--images: {file}: {problem.detail}") from None
    return picture


def prepare(pictures: Sequence[bytes], scale: int, manifest: Manifest) -> Prepared:
    """The pictures of the commonest canvas at a scale, as the service prepares them."""
    times_ms = []
    for _ in range(TRIES):
        done = []
        for picture in pictures:
            start = time.perf_counter()
            done.append(prepare_image(picture, scale, manifest))
            times_ms.append((time.perf_counter() - start) * 1000.0)
    commonest = Counter(image.place.canvas for image in done).most_common(1)[0][0]
    kept = [image for image in done if image.place.canvas == commonest]
    return Prepared(
        np.stack([image.canvas for image in kept]),
        [image.place for image in kept],
        Spread.of(times_ms),
    )
