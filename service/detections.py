"""What a request asks to see of what a session found in its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from export.engines.session import Detections
from export.manifest import Manifest
from model.letterbox import Letterbox
from service.engine.chaos import Mark

BoxFormat = Literal["xyxy", "xywh", "normalized"]

DEFAULT_MAX_DETECTIONS = 100
"""Detections an answer holds unless it asks otherwise; what COCO's AP counts."""


@dataclass(frozen=True)
class Options:
    """What a request asks of its images; checked against the manifest by whoever builds it."""

    score_threshold: float
    iou_threshold: float
    max_detections: int
    scale: int
    classes: frozenset[int] | None = None
    """Class indices to answer; None answers all."""
    box_format: BoxFormat = "xyxy"
    chaos: Mark | None = None
    """What the engine shall do to the batch; only with `serve --chaos`."""

    @classmethod
    def default(cls, manifest: Manifest) -> Options:
        """What a request without parameters gets."""
        caps = manifest.thresholds
        return cls(
            score_threshold=caps.score_threshold,
            iou_threshold=caps.iou_threshold,
            max_detections=min(DEFAULT_MAX_DETECTIONS, caps.max_detections),
            scale=manifest.default_scale,
        )

    def engine_thresholds(self, manifest: Manifest) -> tuple[float, float]:
        """The (score, iou) thresholds to run the graph with.

        A score threshold above the manifest's default is applied to the answer instead: a box is
        only ever suppressed by one of higher score, so greedy NMS keeps the same boxes above the
        threshold either way, and the commonest requests share their batches. A lower one needs
        candidates that the default drops, and another IoU threshold changes what is suppressed.
        """
        return min(self.score_threshold, manifest.thresholds.score_threshold), self.iou_threshold


def finish(found: Detections, place: Letterbox, options: Options) -> Detections:
    """The detections that the options ask for, boxes xyxy in image pixels.

    The class filter comes after NMS, which is class-wise: the classes that are left out never
    suppressed any of the others. It comes before `max_detections`, but after the graph's own cap.
    """
    # The graph compares in float32 and drops a score equal to the threshold; so does this.
    keep = found.scores > np.float32(options.score_threshold)
    if options.classes is not None:
        keep &= np.isin(found.classes, list(options.classes))
    kept = found.where(keep).where(slice(options.max_detections))
    return Detections(place.boxes_to_image(kept.boxes), kept.scores, kept.classes)


def result_of(
    found: Detections,
    image_size: tuple[int, int],
    options: Options,
    manifest: Manifest,
    timings_ms: dict[str, float],
) -> dict[str, Any]:
    """The JSON answer of one image; `found` is what `finish` gave, `image_size` (height, width).

    Boxes are rounded to .01 px (normalized ones to 1e-6) and scores to 1e-5.
    """
    height, width = image_size
    boxes = found.boxes.astype(np.float64)
    if options.box_format == "xywh":
        boxes[:, 2:] -= boxes[:, :2]
    elif options.box_format == "normalized":
        boxes /= [width, height, width, height]
    rows = boxes.round(6 if options.box_format == "normalized" else 2).tolist()
    scores = found.scores.astype(np.float64).round(5).tolist()
    return {
        "model": {"name": manifest.name, "version": manifest.version},
        "image": {"width": width, "height": height},
        "scale": options.scale,
        "detections": [
            {"box": box, "score": score, "label": manifest.classes[index], "class_index": index}
            for box, score, index in zip(rows, scores, found.classes.tolist(), strict=True)
        ],
        "timings_ms": timings_ms,
    }
