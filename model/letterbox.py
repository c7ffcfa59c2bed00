"""How an image becomes a canvas and its boxes come back; shared by training and serving.

The paper's scale is the shorter side after resizing, with the longer side capped at 1333/800 of
it. Each scale has a short closed list of canvases, and the image alone decides which one it gets,
so that detections never depend on the other images of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import InputError
from model.geometry import CANVAS_MULTIPLE

LONG_SIDE_CAP = 1333.0 / 800.0
"""Longer side at most this multiple of the scale (paper, Table 1e: 800 px, Detectron's 1333)."""

CANVAS_ASPECTS = (LONG_SIDE_CAP, 4.0 / 3.0, 1.0)
"""Wide, 4:3 and square; the portraits are their transposes."""

MAX_CANVAS_SIDE = 8192


class Canvas(NamedTuple):
    """The fixed size that an image is letterboxed into; sides are multiples of 32 pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> Canvas:
        """The canvas written as HEIGHTxWIDTH, for example 480x640; else InputError."""
        sides = text.strip().lower().split("x")
        if len(sides) != 2 or not all(side.isdecimal() for side in sides):
            raise InputError(f"canvas {text!r}: write HEIGHTxWIDTH, for example 480x640")
        return cls.checked(int(sides[0]), int(sides[1]))

    @classmethod
    def checked(cls, height: int, width: int) -> Canvas:
        """The canvas of these sides, or InputError that says which sides are accepted."""
        for side in (height, width):
            if side % CANVAS_MULTIPLE or not CANVAS_MULTIPLE <= side <= MAX_CANVAS_SIDE:
                raise InputError(
                    f"canvas {height}x{width}: sides must be multiples of {CANVAS_MULTIPLE} "
                    f"from {CANVAS_MULTIPLE} to {MAX_CANVAS_SIDE}"
                )
        return cls(height, width)


@dataclass(frozen=True)
class Letterbox:
    """One image's place in its canvas: resized to `resized`, at the top left, the rest padding.

    All sizes are (height, width). Boxes are xyxy, continuous coordinates.
    """

    image_size: tuple[int, int]
    resized: tuple[int, int]
    canvas: Canvas

    @property
    def factors_xyxy(self) -> NDArray[np.float32]:
        """Canvas pixels per image pixel along x, y, x, y."""
        y = self.resized[0] / self.image_size[0]
        x = self.resized[1] / self.image_size[1]
        return np.array([x, y, x, y], np.float32)

    def boxes_to_canvas(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Image-pixel boxes [N, 4] in canvas pixels."""
        return np.multiply(boxes, self.factors_xyxy, dtype=np.float32)

    def boxes_to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas-pixel boxes [N, 4] in image pixels, clipped to the image."""
        height, width = self.image_size
        bound = np.array([width, height, width, height], np.float32)
        clipped: NDArray[np.float32] = np.clip(boxes / self.factors_xyxy, 0.0, bound)
        return clipped


def canvases_of_scale(scale: int) -> tuple[Canvas, ...]:
    """The standard canvases of a scale: wide, 4:3, square, and the two portraits."""
    if scale < 1:
        raise InputError(f"scale {scale}: accepted are whole pixels from 1")
    short = _round_up(scale)
    landscapes = [
        Canvas.checked(short, _round_up(round(scale * aspect))) for aspect in CANVAS_ASPECTS
    ]
    portraits = [Canvas(c.width, c.height) for c in landscapes if c.width != c.height]
    return tuple(dict.fromkeys([*landscapes, *portraits]))


def group_canvases(
    scales: Iterable[int], canvases: Iterable[Canvas]
) -> dict[int, tuple[Canvas, ...]]:
    """The canvases that serve each scale, scales ascending.

    A canvas serves the largest scale that its shorter side holds. Without canvases each scale gets
    its standard list; without scales the shorter sides of the canvases are the scales.
    Raises InputError for a scale that no canvas serves, or a canvas smaller than every scale.
    """
    canvases = list(dict.fromkeys(canvases))
    scales = sorted(set(scales)) or sorted({min(canvas) for canvas in canvases})
    if not canvases:
        return {scale: canvases_of_scale(scale) for scale in scales}
    groups: dict[int, list[Canvas]] = {scale: [] for scale in scales}
    for canvas in canvases:
        held = [scale for scale in scales if scale <= min(canvas)]
        if not held:
            raise InputError(f"canvas {canvas} is smaller than every scale of {scales}")
        groups[held[-1]].append(canvas)
    for scale, members in groups.items():
        if not members:
            raise InputError(
                f"scale {scale} has no canvas: give one whose shorter side is at least {scale}"
            )
    return {scale: tuple(members) for scale, members in groups.items()}


def resize_factor(image_size: tuple[int, int], scale: int) -> float:
    """What brings the shorter side to `scale` pixels, unless the longer one would pass the cap."""
    return min(scale / min(image_size), scale * LONG_SIDE_CAP / max(image_size))


def letterbox(image_size: tuple[int, int], scale: int, canvases: Sequence[Canvas]) -> Letterbox:
    """The place of an image of (height, width) at a scale: the canvas that keeps it largest.

    Among the canvases that allow the largest resize factor, the one with the least area wins.
    """
    height, width = image_size
    wanted = resize_factor(image_size, scale)

    def fit(canvas: Canvas) -> float:
        return min(wanted, canvas.height / height, canvas.width / width)

    canvas = max(canvases, key=lambda c: (fit(c), -c.height * c.width))
    factor = fit(canvas)
    resized = (
        min(canvas.height, max(1, round(height * factor))),
        min(canvas.width, max(1, round(width * factor))),
    )
    return Letterbox(image_size, resized, canvas)


def fill_canvas(image: Image.Image, place: Letterbox, out: NDArray[np.uint8]) -> None:
    """Resizes an upright RGB image into `out`, uint8 [canvas height, canvas width, 3].

    What lies outside the image is left as it is: the graph blanks it.
    Pillow's antialiased bilinear filter, in training and serving alike.
    """
    height, width = place.resized
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    out[:height, :width] = np.asarray(image)


def _round_up(side: int) -> int:
    return -(-side // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
