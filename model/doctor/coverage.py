"""How well the anchors cover the boxes, measured with the real anchors at their real places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from model.anchors import anchors_of_canvas
from model.doctor.best_anchors import best_ious
from model.doctor.conditions import Conditions
from model.geometry import AnchorSpec
from model.letterbox import Canvas
from model.matching import match_anchors


class CanvasBoxes(NamedTuple):
    """The boxes of one picture on its canvas.

    Shapes: boxes [M, 4] float32, xyxy canvas pixels; places [M], the places in the data set.
    """

    canvas: Canvas
    boxes: Tensor
    places: NDArray[np.int64]


@dataclass(frozen=True)
class Coverage:
    """What the anchors make of the boxes, in the order of the pictures that were measured.

    Shapes [N]: best_iou and level int64 (place in LEVELS) of the anchor that overlaps a
    box most; positives int64, the anchors assigned to the box. positives_of_picture [P].
    """

    best_iou: NDArray[np.float64]
    level: NDArray[np.int64]
    positives: NDArray[np.int64]
    positives_of_picture: NDArray[np.int64]
    foreground: float

    @property
    def reached(self) -> NDArray[np.bool_]:
        """Boxes with an anchor whose IoU makes it positive, bool [N]."""
        reached: NDArray[np.bool_] = self.best_iou >= self.foreground
        return reached

    @property
    def rescued(self) -> NDArray[np.bool_]:
        """Boxes that have anchors through the low-quality rule alone, bool [N]."""
        rescued: NDArray[np.bool_] = ~self.reached & (self.positives > 0)
        return rescued

    @property
    def without(self) -> NDArray[np.bool_]:
        """Boxes that no anchor answers for, bool [N]."""
        without: NDArray[np.bool_] = self.positives == 0
        return without

    def share_reached(self, mask: NDArray[np.bool_] | slice = slice(None)) -> float:
        """Share of the boxes (of a mask) that are reached; NaN for none."""
        chosen = self.reached[mask]
        return float(chosen.mean()) if len(chosen) else float("nan")

    def part(self, mask: NDArray[np.bool_]) -> Coverage:
        """The coverage of some boxes alone, bool [N]; of the pictures nothing is left."""
        return Coverage(
            self.best_iou[mask],
            self.level[mask],
            self.positives[mask],
            np.zeros(0, np.int64),
            self.foreground,
        )


def together(
    pictures: Sequence[CanvasBoxes],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The boxes of all pictures [N, 4], and the canvas (height, width) of each [N, 2]."""
    boxes = np.concatenate([picture.boxes.numpy() for picture in pictures])
    canvases = np.array([picture.canvas for picture in pictures], np.int64)
    return boxes, np.repeat(canvases, [len(p.boxes) for p in pictures], axis=0)


def measure_coverage(pictures: Sequence[CanvasBoxes], conditions: Conditions) -> Coverage:
    """The coverage of the boxes of one or more pictures under these conditions."""
    best = best_ious(*together(pictures), conditions.anchors).max(axis=2)
    # disable=None: no bar where nobody watches.
    shown = tqdm(pictures, "matching", unit="picture", leave=False, disable=None)
    positives = [_positives(picture, conditions) for picture in shown]
    return Coverage(
        best.max(axis=0),
        best.argmax(axis=0),
        np.concatenate(positives),
        np.array([count.sum() for count in positives]),
        conditions.matching.foreground,
    )


def _positives(picture: CanvasBoxes, conditions: Conditions) -> NDArray[np.int64]:
    """How many anchors the matching rule assigns to each box of a picture [M]."""
    anchors = _anchors(picture.canvas, conditions.anchors)
    no_crowd = picture.boxes.new_zeros((0, 4))
    found = match_anchors(anchors, picture.boxes, no_crowd, conditions.matching)
    index = found.box_index[found.positive]
    return torch.bincount(index, minlength=len(picture.boxes)).numpy()


@lru_cache(maxsize=8)
def _anchors(canvas: Canvas, spec: AnchorSpec) -> Tensor:
    return torch.cat(anchors_of_canvas(canvas, spec))
