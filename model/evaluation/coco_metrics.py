"""COCO detection metrics, from a maintained evaluator. No torch here."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_DETECTIONS = 100
"""COCO counts the best 100 detections of an image."""

METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
"""COCO's twelve, in the order in which its own tools print them."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads precision off."""


class ImageDetections(NamedTuple):
    """One image's detections: boxes [N, 4] xyxy image pixels, scores [N], classes [N]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def best(self) -> ImageDetections:
        """Those that COCO counts, by descending score."""
        return self.at(np.argsort(-self.scores, kind="stable")[:MAX_DETECTIONS])

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> ImageDetections:
        """Those of an index or a mask."""
        return ImageDetections(self.boxes[index], self.scores[index], self.classes[index])


class CocoEvaluation(NamedTuple):
    """`metrics`: see `coco_metrics`. `precision`: of each class by name, at `IOU_THRESHOLDS` and
    `RECALLS`, [10, 101]; NaN where the class has no ground truth.
    """

    metrics: dict[str, Any]
    precision: dict[str, NDArray[np.float64]]


def coco_results(
    coco: Mapping[str, Any], classes: Sequence[str], detections: Mapping[int, ImageDetections]
) -> list[dict[str, Any]]:
    """COCO result entries: the file's own category ids, xywh floats without +1."""
    category_of = {entry["name"]: entry["id"] for entry in coco["categories"]}
    entries = []
    for image_id, found in sorted(detections.items()):
        for (x1, y1, x2, y2), score, index in zip(
            *(part.tolist() for part in found.best()), strict=True
        ):
            if (category := category_of.get(classes[index])) is not None:
                entries.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "score": score,
                    }
                )
    return entries


def coco_metrics(
    coco: Mapping[str, Any], classes: Sequence[str], detections: Mapping[int, ImageDetections]
) -> dict[str, Any]:
    """The figures named in `METRICS`, and under `classes` each class's AP, AP50, AR100 and number
    of boxes.

    `coco` is the ground truth; only images in `detections` are counted. Figures are rounded to 4
    digits; one that no ground truth supports is None.
    """
    return coco_evaluation(coco, classes, detections).metrics


def coco_evaluation(
    coco: Mapping[str, Any], classes: Sequence[str], detections: Mapping[int, ImageDetections]
) -> CocoEvaluation:
    """`coco_metrics` with the curves behind them."""
    from faster_coco_eval import COCO, COCOeval_faster

    entries = coco_results(coco, classes, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        notes = [_completed(note, number) for number, note in enumerate(coco["annotations"], 1)]
        truth = COCO({**coco, "annotations": notes})
        evaluator = COCOeval_faster(truth, truth.loadRes(entries), "bbox")
        evaluator.params.imgIds = sorted(detections)
        evaluator.params.iouThrs, evaluator.params.recThrs = IOU_THRESHOLDS, RECALLS
        evaluator.run()
    boxes = Counter(
        note["category_id"]
        for note in notes
        if note["image_id"] in detections and not note["iscrowd"]
    )
    # Of all object sizes and with the most detections.
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    recall = evaluator.eval["recall"][:, :, 0, -1]
    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    metrics: dict[str, Any] = {
        name: _rounded(value) for name, value in zip(METRICS, evaluator.stats, strict=False)
    }
    metrics["classes"] = {
        names[category]: {
            "AP": _rounded(precision[:, :, index].mean()),
            "AP50": _rounded(precision[0, :, index].mean()),
            "AR100": _rounded(recall[:, index].mean()),
            "boxes": boxes[category],
        }
        for index, category in enumerate(evaluator.params.catIds)
    }
    curves = np.where(precision > -1, precision, np.nan)
    return CocoEvaluation(
        metrics,
        {names[c]: curves[:, :, index] for index, c in enumerate(evaluator.params.catIds)},
    )


def _completed(note: Mapping[str, Any], number: int) -> dict[str, Any]:
    """An annotation with every key that the evaluator needs; its id 0 would mean 'no match'."""
    return {"area": note["bbox"][2] * note["bbox"][3], "iscrowd": 0, **note, "id": number}


def _rounded(value: float) -> float | None:
    """To 4 digits; the evaluator says -1 where it knows nothing."""
    return round(float(value), 4) if value > -1 else None
