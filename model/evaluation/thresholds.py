"""Precision and recall by score threshold: which threshold to use. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.evaluation.coco_metrics import ImageDetections

GRID = np.arange(1000) / 1000
"""The thresholds that are tried."""

Floats = NDArray[np.float64]


class Rates(NamedTuple):
    """At each threshold: the share of detections that are hits (NaN without detections), the share
    of objects that are found (NaN without objects), and their harmonic mean (0 if nothing is).
    """

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class ScoreSweep:
    """Scores [N] of detections, which of them are hits [N], and the number of objects."""

    scores: Floats
    hits: NDArray[np.bool_]
    objects: int

    def at(self, threshold: ArrayLike) -> Rates:
        """The rates if detections with score > threshold are kept."""
        kept = _above(self.scores, threshold)
        hits = _above(self.scores[self.hits], threshold)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Rates(
                np.where(kept > 0, hits / kept, np.nan),
                hits / np.float64(self.objects or np.nan),
                2 * hits / np.maximum(1, kept + self.objects),
            )

    def best_threshold(self) -> float | None:
        """The threshold of `GRID` with the best F1; None if no threshold has any hit.

        Where many are equally good, the middle one: it leaves most room for new pictures.
        """
        f1 = self.at(GRID).f1
        best = np.flatnonzero(f1 == f1.max())
        return float(GRID[best[len(best) // 2]]) if f1.max() > 0 else None


def sweeps_of(
    classes: Sequence[str],
    hits: Sequence[tuple[ImageDetections, NDArray[np.bool_]]],
    objects: NDArray[np.int64],
) -> tuple[ScoreSweep, dict[str, ScoreSweep]]:
    """The sweep over everything and that of each class.

    `hits`: of each image, see `outcomes.class_hits`. `objects` [K]: how many there are.
    """
    scores = np.concatenate([found.scores for found, _ in hits]).astype(np.float64)
    labels = np.concatenate([found.classes for found, _ in hits])
    is_hit = np.concatenate([hit for _, hit in hits])
    by_class = {
        name: ScoreSweep(scores[labels == k], is_hit[labels == k], int(objects[k]))
        for k, name in enumerate(classes)
    }
    return ScoreSweep(scores, is_hit, int(objects.sum())), by_class


def _above(scores: Floats, threshold: ArrayLike) -> NDArray[np.int64]:
    """How many scores are above each threshold."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), threshold, side="right"))
