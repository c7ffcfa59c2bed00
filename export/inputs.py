"""Pictures as graph inputs: for calibration and for comparing graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import InputError
from model.letterbox import Canvas, Letterbox, fill_canvas, letterbox
from model.pictures import PICTURE_SUFFIXES, read_picture
from model.synthetic.scene import draw_scene


class Placed(NamedTuple):
    """A picture on its canvas: uint8 [H, W, 3], and where it lies there."""

    image: NDArray[np.uint8]
    place: Letterbox

    @property
    def feed(self) -> dict[str, NDArray[Any]]:
        """The graph's required inputs for a batch of this one."""
        return feed_of([self])


def feed_of(batch: Sequence[Placed]) -> dict[str, NDArray[Any]]:
    """The graph's required inputs for pictures on canvases of one size."""
    return {
        "images": np.stack([entry.image for entry in batch]),
        "image_sizes": np.array([entry.place.resized for entry in batch], np.int64),
    }


def placed(picture: Image.Image, scale: int, canvases: Sequence[Canvas]) -> Placed:
    """The picture as serving would place it."""
    place = letterbox((picture.height, picture.width), scale, canvases)
    image = np.zeros((*place.canvas, 3), np.uint8)
    fill_canvas(picture, place, image)
    return Placed(image, place)


def pictures_of(folder: Path, limit: int) -> Iterator[Image.Image]:
    """Up to `limit` pictures spread over a folder's sorted files; InputError if there is none."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    except OSError:
        raise InputError(f"{folder}: not a folder of pictures") from None
    if not paths:
        raise InputError(f"{folder}: no picture here ({', '.join(PICTURE_SUFFIXES)})")
    step = max(1, len(paths) // limit)
    for path in paths[::step][:limit]:
        yield read_picture(path)


def drawn_pictures(canvas: Canvas, count: int) -> list[Image.Image]:
    """`count` drawn scenes that suit a canvas, one of them smaller than it."""
    return [
        Image.fromarray(
            draw_scene(
                7000 + number, (max(64, canvas.height - 13 * number), max(64, canvas.width))
            ).image
        )
        for number in range(count)
    ]
