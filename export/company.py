"""Does an image's result depend on its batch-mates? Alone against any company."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from export.engines.parity import Bounds, Detector, compared
from export.engines.session import Detections
from export.figures import Figure
from export.inputs import Placed, drawn_pictures, placed, run
from export.manifest import Precision, Thresholds
from model.letterbox import Canvas, Letterbox

ON_CPU = Bounds(unmatched=0.0, least_iou=0.99, score=1e-5, box_px=1e-3)
"""What company may change there: the last bits of sums taken in another order. On a GPU the kernels
themselves depend on the batch size, and what the precision may change is what company may."""

IN_HALVES_ON_CPU = Bounds(unmatched=0.0, least_iou=0.99, score=2e-3, box_px=0.5)
"""The same where values are fp16: a last bit may have one round to its neighbour, 2^-11 of it away,
and a delta of the largest anchors' size is pixels."""

LOOSE_SCORE = 1e-3

SIZES_AND_POSITIONS = ((2, 1), (3, 1), (5, 0), (8, 7))
"""Batch sizes, and where the image stands among its mates: first, last, in the middle."""


def cpu_bounds(precision: Precision) -> Bounds:
    """What company may change on the CPU in a graph of this precision."""
    return IN_HALVES_ON_CPU if precision == "fp16" else ON_CPU


def companies(canvas: Canvas, largest: int) -> Iterator[tuple[list[Placed], int]]:
    """Batches of up to `largest` on a canvas, and where in each the same drawn scene stands.

    Its mates differ from it and from each other in all that could leak: another scene, noise, all
    black, all white, pictures that fill the canvas and one that fills a corner.
    """
    pictures = drawn_pictures(canvas, 2)
    subject, scene = (placed(picture, min(canvas), [canvas]) for picture in pictures)
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, subject.image.shape, dtype=np.uint8)
    corner = Letterbox((32, 32), (32, 32), canvas)
    mates = [
        Placed(noise, subject.place),
        Placed(np.full_like(noise, 255), subject.place),
        Placed(np.zeros_like(noise), subject.place),
        scene,
        Placed(noise, corner),
    ]
    for size, position in SIZES_AND_POSITIONS:
        if size > largest:
            continue
        batch = [mates[index % len(mates)] for index in range(size - 1)]
        batch.insert(position, subject)
        yield batch, position


@dataclass
class AloneTally:
    """Differences between an image alone and in a batch, the worst of all."""

    thresholds: Thresholds
    bounds: Bounds
    box_px: float = 0.0
    score: float = 0.0

    def add(self, alone: Detections, in_batch: Detections) -> None:
        """Compares one image; a detection that comes or goes counts as infinitely far."""
        # Matched loosely, so that a difference past its bound is told as what it is.
        loose = replace(self.bounds, score=max(self.bounds.score, LOOSE_SCORE))
        pairs, unmatched, _ = compared(alone, in_batch, loose, self.thresholds)
        if unmatched:
            self.box_px = self.score = np.inf
        mine, theirs = pairs.T
        if len(pairs):
            box = np.abs(alone.boxes[mine] - in_batch.boxes[theirs]).max()
            score = np.abs(alone.scores[mine] - in_batch.scores[theirs]).max()
            self.box_px = max(self.box_px, float(box))
            self.score = max(self.score, float(score))

    def add_companies(self, detector: Detector, canvas: Canvas, largest: int) -> None:
        """Compares a drawn scene alone with itself in each of `companies`."""
        alone = None
        tried = list(companies(canvas, largest))
        for batch, position in tqdm(tried, "in company", unit="batch", leave=False, disable=None):
            alone = alone or run(detector, [batch[position]], self.thresholds)[0]
            self.add(alone, run(detector, batch, self.thresholds)[position])

    def figures(self) -> list[Figure]:
        """Both differences with their bounds."""
        return [
            Figure("company", "alone_worst_box_px", self.box_px, self.bounds.box_px),
            Figure("company", "alone_worst_score", self.score, self.bounds.score),
        ]

    def report(self) -> dict[str, Any]:
        """For the manifest."""
        return {"alone_worst_box_px": self.box_px, "alone_worst_score": self.score}
