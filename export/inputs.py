"""Pictures as graph inputs: for calibration and for comparing graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.engines.parity import Detector
from export.engines.session import Detections
from export.manifest import Manifest, Thresholds
from model.data.records import Record
from model.errors import InputError
from model.letterbox import Canvas, Letterbox, fill_canvas, letterbox
from model.pictures import PICTURE_SUFFIXES, read_picture
from model.synthetic.scene import draw_scene

REAL_PICTURES = 4
"""Of a folder, at each scale, to compare graphs on."""

logger = logging.getLogger(__name__)


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


def run(detector: Detector, batch: Sequence[Placed], thresholds: Thresholds) -> list[Detections]:
    """The detections of each picture of a batch."""
    feed = feed_of(batch)
    return detector.run(
        feed["images"], feed["image_sizes"], thresholds.score_threshold, thresholds.iou_threshold
    )


def placed(picture: Image.Image, scale: int, canvases: Sequence[Canvas]) -> Placed:
    """The picture as serving would place it."""
    place = letterbox((picture.height, picture.width), scale, canvases)
    image = np.zeros((*place.canvas, 3), np.uint8)
    fill_canvas(picture, place, image)
    return Placed(image, place)


def pictures_of(folder: Path, limit: int) -> Iterator[Image.Image]:
    """Up to `limit` pictures spread over a folder's sorted files.

    One that can't be read is named in a warning and left out; InputError if none can.
    """
    return (picture for _, picture in _readable(folder, limit))


def records_of(folder: Path, limit: int) -> list[Record]:
    """The same pictures as records without labels."""
    none = np.zeros((0, 4), np.float32)
    return [
        Record(number, path, (picture.height, picture.width), none, np.zeros(0, np.int64), none)
        for number, (path, picture) in enumerate(_readable(folder, limit), 1)
    ]


def _readable(folder: Path, limit: int) -> Iterator[tuple[Path, Image.Image]]:
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    except OSError:
        raise InputError(f"{folder}: not a folder of pictures") from None
    if not paths:
        raise InputError(f"{folder}: no picture here ({', '.join(PICTURE_SUFFIXES)})")
    paths = paths[:: max(1, len(paths) // limit)][:limit]
    some = False
    for path in paths:
        try:
            picture = read_picture(path)
        except InputError as error:
            logger.warning("skipped: %s", error)
            continue
        some = True
        yield path, picture
    if not some:
        raise InputError(f"{folder}: none of the {len(paths)} pictures tried there can be read")


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


def comparison_batches(manifest: Manifest, folder: Path | None) -> Iterator[list[Placed]]:
    """Batches of 1 to 3 over every canvas: drawn scenes, noise, and real pictures where given."""
    random = np.random.default_rng(0)
    size = 2  # so that even a single canvas sees a batch
    for scale, canvases in manifest.canvases_by_scale.items():
        for canvas in canvases:
            batch = [placed(picture, scale, [canvas]) for picture in drawn_pictures(canvas, size)]
            if size == 2:
                noise = random.integers(0, 256, batch[0].image.shape, dtype=np.uint8)
                batch.append(Placed(noise, batch[0].place))
            yield batch
            size = size % 3 + 1
        if folder is not None:
            for picture in islice(pictures_of(folder, REAL_PICTURES), REAL_PICTURES):
                yield [placed(picture, scale, canvases)]
