"""COCO detection metrics, from a maintained evaluator. No torch here."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_DETECTIONS = 100
"""COCO counts the best 100 detections of an image."""


class ImageDetections(NamedTuple):
    """One image's detections: boxes [N, 4] xyxy image pixels, scores [N], classes [N]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


def coco_results(
    coco: Mapping[str, Any], classes: Sequence[str], detections: Mapping[int, ImageDetections]
) -> list[dict[str, Any]]:
    """COCO result entries: the file's own category ids, xywh floats without +1."""
    category_of = {entry["name"]: entry["id"] for entry in coco["categories"]}
    entries = []
    for image_id, found in detections.items():
        best = np.argsort(-found.scores, kind="stable")[:MAX_DETECTIONS]
        for (x1, y1, x2, y2), score, index in zip(
            found.boxes[best].tolist(),
            found.scores[best].tolist(),
            found.classes[best].tolist(),
            strict=True,
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
    """AP, AP50, AP75, APs, APm, APl, AR100 and each class's AP and AP50, rounded to 4 digits.

    `coco` is the ground truth; only images in `detections` are counted. A figure that no ground
    truth supports is None.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    entries = coco_results(coco, classes, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        notes = [_completed(note, number) for number, note in enumerate(coco["annotations"], 1)]
        truth = COCO({**coco, "annotations": notes})
        evaluator = COCOeval_faster(truth, truth.loadRes(entries), "bbox")
        evaluator.params.imgIds = sorted(detections)
        evaluator.run()
    stats = evaluator.stats
    named = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR100": 8}
    metrics: dict[str, Any] = {name: _rounded(stats[i]) for name, i in named.items()}
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    metrics["classes"] = {
        names[category]: {
            "AP": _mean(precision[:, :, index]),
            "AP50": _mean(precision[0, :, index]),
        }
        for index, category in enumerate(evaluator.params.catIds)
    }
    return metrics


def _completed(note: Mapping[str, Any], number: int) -> dict[str, Any]:
    """An annotation with every key that the evaluator needs; its id 0 would mean 'no match'."""
    return {"area": note["bbox"][2] * note["bbox"][3], "iscrowd": 0, **note, "id": number}


def _mean(precision: NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return _rounded(known.mean()) if known.size else None


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if value > -1 else None
