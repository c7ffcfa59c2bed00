"""How training will see the boxes: scale, canvas, anchors and matching rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.geometry import AnchorSpec
from model.letterbox import Canvas, Letterbox, canvases_of_scale, letterbox
from model.matching import Matching
from model.recipe import ModelSection, Recipe, TrainSection


@dataclass(frozen=True)
class Conditions:
    """What decides which anchors a box gets.

    `canvas`: the one that the recipe fixes, or None for those of the scale.
    """

    scale: int
    canvas: Canvas | None
    anchors: AnchorSpec
    matching: Matching

    def place(self, image_size: tuple[int, int]) -> Letterbox:
        """An image of (height, width) on its canvas, without augmentation.

        Departs: where a fixed canvas is too small for the image at this scale, training crops the
        image at random; here it is laid on the scale's own canvas, which has the same anchors at
        the same distances.
        """
        place = letterbox(image_size, self.scale, canvases_of_scale(self.scale))
        height, width = place.resized
        if self.canvas and height <= self.canvas.height and width <= self.canvas.width:
            return Letterbox(image_size, place.resized, self.canvas)
        return place

    def holds(self, image_size: tuple[int, int]) -> bool:
        """Whether no part of an image of (height, width) is cut off by a fixed canvas."""
        return self.canvas is None or self.place(image_size).canvas == self.canvas

    def factors(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Canvas pixels per image pixel [P, 2] (x, y) of images of (height, width) [P, 2]."""
        distinct, index = np.unique(sizes, axis=0, return_inverse=True)
        rows = [
            self.place((int(h), int(w))).factors_xyxy[:2] if h > 0 and w > 0 else (np.nan, np.nan)
            for h, w in distinct
        ]
        return np.array(rows, np.float64).reshape(-1, 2)[index.ravel()]


def conditions_of(recipe: Recipe | None, scale: int | None) -> Conditions:
    """The conditions of a recipe, or of the defaults; `scale` in place of the recipe's."""
    train = recipe.train if recipe else TrainSection()
    model = recipe.model if recipe else ModelSection()
    fixed = Canvas.parse(train.canvas) if train.canvas != "auto" else None
    if scale is not None and scale != train.scale:
        fixed = None
    return Conditions(
        scale or train.scale, fixed, model.anchors, recipe.matching if recipe else Matching()
    )
