"""All that is to be said of detections on a data set: metrics, thresholds, errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.data.records import DataSet
from model.evaluation.coco_metrics import CocoEvaluation, ImageDetections, coco_evaluation
from model.evaluation.outcomes import (
    ImageOutcome,
    class_hits,
    confusion_of,
    error_table,
    outcome_of,
)
from model.evaluation.thresholds import ScoreSweep, sweeps_of

NO_THRESHOLD = 0.5
"""Used where no score threshold is better than another: nothing was found."""


@dataclass(frozen=True)
class Assessment:
    """Detections held against a data set, class indices those of the data set.

    `threshold`: the score threshold of `images`, the outcomes of each picture.
    """

    data: DataSet
    coco: CocoEvaluation
    overall: ScoreSweep
    by_class: dict[str, ScoreSweep]
    threshold: float
    images: list[ImageOutcome]

    def document(self) -> dict[str, Any]:
        """Everything as JSON: COCO's metrics, those of each class with the threshold that suits it
        best, the confusion table and the errors.
        """
        metrics = self.coco.metrics
        classes = {
            name: {**metrics["classes"][name], **rates_of(sweep, sweep.best_threshold())}
            for name, sweep in self.by_class.items()
        }
        names = self.data.classes
        confusion = confusion_of(self.images, len(names))
        return {
            "images": len(self.images),
            "boxes": self.overall.objects,
            **metrics,
            "classes": classes,
            "all": rates_of(self.overall, self.threshold),
            "errors": error_table(self.images, names),
            "confusion": {
                "labelled as": [*names, "background"],
                "found as": [*names, "missed"],
                "counts": confusion.tolist(),
            },
        }


def assess(
    data: DataSet,
    detections: Mapping[int, ImageDetections],
    score_threshold: float | None = None,
) -> Assessment:
    """The assessment of every picture's detections by image id.

    The default score threshold is the one with the best F1 over all classes.
    """
    objects = np.bincount(
        np.concatenate([record.classes for record in data.records]), minlength=len(data.classes)
    )
    hits = [class_hits(record, detections[record.image_id]) for record in data.records]
    overall, by_class = sweeps_of(data.classes, hits, objects)
    if score_threshold is None:
        best = overall.best_threshold()
        score_threshold = NO_THRESHOLD if best is None else best
    return Assessment(
        data,
        coco_evaluation(data.coco, data.classes, detections),
        overall,
        by_class,
        score_threshold,
        [outcome_of(r, detections[r.image_id], score_threshold) for r in data.records],
    )


def rates_of(sweep: ScoreSweep, threshold: float | None) -> dict[str, float | None]:
    """`threshold` and precision, recall and F1 there, to 4 digits; None for what is unknown."""
    if threshold is None:
        return dict.fromkeys(("threshold", "precision", "recall", "F1"))
    precision, recall, f1 = (float(rate) for rate in sweep.at(threshold))
    named = {"threshold": threshold, "precision": precision, "recall": recall, "F1": f1}
    return {k: None if math.isnan(v) else round(v, 4) for k, v in named.items()}


def in_classes_of(
    data: Sequence[str], subject: Sequence[str], detections: Mapping[int, ImageDetections]
) -> dict[int, ImageDetections]:
    """Detections with the subject's class indices told in the data's; other classes are left out:
    where nobody labelled them, nobody knows whether they are right.
    """
    index = np.array([data.index(name) if name in data else -1 for name in subject], np.int64)
    told = {}
    for image_id, found in detections.items():
        renamed = found._replace(classes=index[found.classes])
        told[image_id] = renamed.at(renamed.classes >= 0)
    return told
