"""Random changes to a training picture and its boxes, decided by one random generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict

from model.errors import InputError
from model.letterbox import Canvas, resize_factor

Flip = Literal["horizontal", "vertical", "transpose"]
_FLIPS = {
    "horizontal": Image.Transpose.FLIP_LEFT_RIGHT,
    "vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "transpose": Image.Transpose.TRANSPOSE,
}

_CROP_SHARE = (0.3, 1.0)
"""Share of the picture's area that a random crop keeps: objects grow up to about 1.8 times."""

_CROP_ASPECT = (3 / 4, 4 / 3)
"""Aspect ratio of a random crop, in multiples of the picture's."""


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture. The paper flips horizontally, nothing else
    (sec. 4.1); its best model adds scale jitter (sec. 5.3).

    `flips`: each happens with probability .5; all three together give the eight symmetries of a
    square, for pictures without an up and down.
    `crop`: probability of a random crop, for small sets: a window of 30 to 100 % of the picture's
    area and 3/4 to 4/3 of its aspect ratio that holds the centre of a box picked at random, or
    lies anywhere if there is none, takes the picture's place; it is fitted into the canvas.
    `scale_jitter`: the resize factor is drawn log-uniformly between these multiples of
    what the training scale asks for.
    `colour`: strength of brightness, contrast, white balance and gamma changes; 0 to 1.
    `least_visible`: a cropped box that keeps less than this share of its area is ignored.
    """

    flips: tuple[Flip, ...] = ("horizontal",)
    crop: float = 0.0
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    colour: float = 0.0
    least_visible: float = 0.25

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not 0.0 <= self.crop <= 1.0:
            raise InputError(f"crop {self.crop}: accepted are 0 to 1")
        low, high = self.scale_jitter
        if not 0.05 <= low <= high <= 20.0:
            raise InputError(f"scale_jitter {low, high}: accepted is .05 <= low <= high <= 20")
        if not 0.0 <= self.colour <= 1.0:
            raise InputError(f"colour {self.colour}: accepted are 0 to 1")
        if not 0.0 <= self.least_visible <= 1.0:
            raise InputError(f"least_visible {self.least_visible}: accepted are 0 to 1")


class Sample(NamedTuple):
    """A picture on its training canvas; boxes in canvas pixels, see `Record` for the shapes."""

    image: NDArray[np.uint8]
    image_size: tuple[int, int]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    ignored: NDArray[np.float32]


def augmented(
    picture: Image.Image,
    boxes: NDArray[np.float32],
    classes: NDArray[np.int64],
    ignored: NDArray[np.float32],
    canvas: Canvas,
    scale: int,
    rule: Augmentation,
    random: Generator,
    turned: bool | None = None,
) -> Sample:
    """The picture flipped, resized to about `scale`, cropped or padded into `canvas`, recoloured.

    A resized picture larger than the canvas is cropped at a random place, a smaller one lies at the
    top left as in serving. Boxes go along. `turned` decides about the flip `transpose`, where the
    canvas asks for it; None leaves it to chance.
    """
    boxes, ignored = boxes.copy(), ignored.copy()
    for flip in rule.flips:
        happens = random.random() < 0.5
        if flip == "transpose" and turned is not None:
            happens = turned
        if happens:
            boxes, ignored = (_flipped(b, flip, picture.size) for b in (boxes, ignored))
            picture = picture.transpose(_FLIPS[flip])
    cropped = rule.crop > 0 and random.random() < rule.crop
    if cropped:
        window = _window(picture.size, boxes, random)
        picture = picture.crop(window)
        boxes, ignored = (b - np.array(window[:2] * 2, np.float32) for b in (boxes, ignored))
    width, height = picture.size
    factor = resize_factor((height, width), scale)
    if cropped:
        factor = min(factor, canvas.height / height, canvas.width / width)
    low, high = np.log(rule.scale_jitter)
    factor *= float(np.exp(random.uniform(low, high)))
    resized = (max(1, round(width * factor)), max(1, round(height * factor)))
    if resized != picture.size:
        picture = picture.resize(resized, Image.Resampling.BILINEAR)
    top = int(random.integers(0, max(0, resized[1] - canvas.height) + 1))
    left = int(random.integers(0, max(0, resized[0] - canvas.width) + 1))
    size = (min(resized[1], canvas.height), min(resized[0], canvas.width))
    picture = picture.crop((left, top, left + size[1], top + size[0]))
    image = np.zeros((*canvas, 3), np.uint8)
    image[: size[0], : size[1]] = np.asarray(_recoloured(picture, rule.colour, random))

    factors = np.array([resized[0] / width, resized[1] / height] * 2, np.float32)
    offset = np.array([left, top, left, top], np.float32)
    boxes, visible = _cropped(boxes * factors - offset, size)
    ignored, shown = _cropped(ignored * factors - offset, size)
    kept = (visible > 0) & (visible >= rule.least_visible)
    hidden = (visible > 0) & ~kept
    return Sample(
        image, size, boxes[kept], classes[kept], np.concatenate([ignored[shown > 0], boxes[hidden]])
    )


def _window(
    size: tuple[int, int], boxes: NDArray[np.float32], random: Generator
) -> tuple[int, int, int, int]:
    """A random xyxy window of a picture of (width, height), see `Augmentation.crop`."""
    share = random.uniform(*_CROP_SHARE)
    aspect = np.exp(random.uniform(*np.log(_CROP_ASPECT)))
    centre = None
    if len(boxes):
        x1, y1, x2, y2 = boxes[random.integers(len(boxes))].tolist()
        centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    starts, ends = [], []
    for axis, stretch in enumerate((aspect**0.5, aspect**-0.5)):
        side = min(size[axis], max(1, round(size[axis] * share**0.5 * stretch)))
        low, high = 0, size[axis] - side
        if centre:
            low, high = max(low, math.ceil(centre[axis]) - side), min(high, int(centre[axis]))
        starts.append(int(random.integers(low, high + 1)))
        ends.append(starts[-1] + side)
    return starts[0], starts[1], ends[0], ends[1]


def _flipped(boxes: NDArray[np.float32], flip: Flip, size: tuple[int, int]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = boxes.T
    width, height = size
    sides = {
        "horizontal": (width - x2, y1, width - x1, y2),
        "vertical": (x1, height - y2, x2, height - y1),
        "transpose": (y1, x1, y2, x2),
    }[flip]
    return np.stack(sides, axis=1).astype(np.float32)


def _cropped(
    boxes: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes clipped to (height, width), and the share of its area that each keeps."""
    bound = np.array([size[1], size[0]] * 2, np.float32)
    clipped = np.clip(boxes, 0, bound)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    return clipped, np.divide(kept, area, out=np.zeros_like(kept), where=area > 0)


def _recoloured(picture: Image.Image, strength: float, random: Generator) -> Image.Image:
    """Each channel through a random curve: gain, gamma, contrast, offset (a 256-entry table)."""
    if strength == 0:
        return picture
    gamma = np.exp(strength * random.normal(0, 0.35))
    gain = np.exp(strength * (random.normal(0, 0.2) + random.normal(0, 0.12, 3)))
    contrast = np.exp(strength * random.normal(0, 0.25))
    offset = strength * random.normal(0, 20)
    levels = (np.arange(256) / 255.0) ** gamma * 255.0
    table = (levels[:, None] * gain - 160.0) * contrast + 160.0 + offset
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return picture.point(table.T.ravel().tolist())
