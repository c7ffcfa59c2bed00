"""Random changes to a training picture and its boxes, decided by one random generator."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture. The paper flips horizontally, nothing else
    (sec. 4.1); its best model adds scale jitter (sec. 5.3).

    `flips`: each happens with probability .5; all three together give the eight symmetries of a
    square, for pictures without an up and down.
    `scale_jitter`: the resize factor is drawn log-uniformly between these multiples of
    what the training scale asks for.
    `colour`: strength of brightness, contrast, white balance and gamma changes; 0 to 1.
    `least_visible`: a cropped box that keeps less than this share of its area is ignored.
    """

    flips: tuple[Flip, ...] = ("horizontal",)
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    colour: float = 0.0
    least_visible: float = 0.25

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
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
) -> Sample:
    """The picture flipped, resized to about `scale`, cropped or padded into `canvas`, recoloured.

    A resized picture larger than the canvas is cropped at a random place, a smaller one lies at the
    top left as in serving. Boxes go along.
    """
    boxes, ignored = boxes.copy(), ignored.copy()
    for flip in rule.flips:
        if random.random() < 0.5:
            boxes, ignored = (_flipped(b, flip, picture.size) for b in (boxes, ignored))
            picture = picture.transpose(_FLIPS[flip])
    width, height = picture.size
    low, high = np.log(rule.scale_jitter)
    factor = resize_factor((height, width), scale) * float(np.exp(random.uniform(low, high)))
    resized = (max(1, round(width * factor)), max(1, round(height * factor)))
    if resized != picture.size:
        picture = picture.resize(resized, Image.Resampling.BILINEAR)
    top = int(random.integers(0, max(0, resized[1] - canvas.height) + 1))
    left = int(random.integers(0, max(0, resized[0] - canvas.width) + 1))
    size = (min(resized[1], canvas.height), min(resized[0], canvas.width))
    window = picture.crop((left, top, left + size[1], top + size[0]))
    image = np.zeros((*canvas, 3), np.uint8)
    image[: size[0], : size[1]] = _recoloured(np.asarray(window), rule.colour, random)

    factors = np.array([resized[0] / width, resized[1] / height] * 2, np.float32)
    offset = np.array([left, top, left, top], np.float32)
    boxes, visible = _cropped(boxes * factors - offset, size)
    ignored, shown = _cropped(ignored * factors - offset, size)
    kept = (visible > 0) & (visible >= rule.least_visible)
    hidden = (visible > 0) & ~kept
    return Sample(
        image, size, boxes[kept], classes[kept], np.concatenate([ignored[shown > 0], boxes[hidden]])
    )


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


def _recoloured(image: NDArray[np.uint8], strength: float, random: Generator) -> NDArray[np.uint8]:
    """Each channel through a random curve: gain, gamma, contrast, offset (a 256-entry table)."""
    if strength == 0:
        return image
    gamma = np.exp(strength * random.normal(0, 0.35))
    gain = np.exp(strength * (random.normal(0, 0.2) + random.normal(0, 0.12, 3)))
    contrast = np.exp(strength * random.normal(0, 0.25))
    offset = strength * random.normal(0, 20)
    levels = (np.arange(256) / 255.0) ** gamma * 255.0
    table = (levels[:, None] * gain - 160.0) * contrast + 160.0 + offset
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.stack([table[image[..., c], c] for c in range(3)], axis=-1)
