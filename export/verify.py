"""Does a graph compute what the trained model computes? Measured, with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.inputs import Placed, feed_of
from export.manifest import Precision, Thresholds
from model.anchors import anchors_of_canvas
from model.boxes import iou_of
from model.checkpoint import Checkpoint
from model.normalise import normalise
from model.postprocess import Detections, detections_of
from model.retinanet import RetinaNet

Outputs = list[NDArray[Any]]


@dataclass(frozen=True)
class Bounds:
    """What a precision is allowed to change.

    `unmatched`: share of detections without a counterpart of the same class (IoU at least
    `least_iou`) whose score differs from it by at most `score`. `box_px`: worst distance of any
    box side of a counterpart, canvas pixels. `alone_*`: alone against in a batch.
    Detections within `score` of the score threshold may come or go.
    """

    unmatched: float
    least_iou: float
    score: float
    box_px: float
    alone_box_px: float = 1e-3
    alone_score: float = 1e-5


BOUNDS: dict[Precision, Bounds] = {
    "fp32": Bounds(unmatched=0.0, least_iou=0.99, score=1e-3, box_px=0.05),
    "fp16": Bounds(unmatched=0.02, least_iou=0.9, score=0.05, box_px=8.0),
    # Quantization moves scores: what counts is the AP, which `--data` measures as well.
    "int8": Bounds(unmatched=0.15, least_iou=0.7, score=0.2, box_px=64.0),
}


class VerificationError(RuntimeError):
    """A graph that departs from the model by more than its bounds."""


def session_of(graph: bytes) -> onnxruntime.InferenceSession:
    """A plain ONNX Runtime session on CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def verify(
    graph: bytes,
    checkpoint: Checkpoint,
    batches: Sequence[Sequence[Placed]],
    precision: Precision,
    thresholds: Thresholds,
) -> dict[str, Any]:
    """Compares a graph with the eager model and the post-processing oracle on batches of pictures.

    Returns the measured differences; raises VerificationError, with the figure and its bound, when
    one is past its bound. Each picture also runs alone: its detections must not depend on company.
    """
    session = session_of(graph)
    model = checkpoint.build()
    tally = _Tally(BOUNDS[precision], thresholds.score_threshold)
    for batch in batches:
        outputs = session.run(None, feed_of(batch))
        for index, entry in enumerate(batch):
            found = _row(outputs, index)
            tally.compare(_oracle(model, checkpoint, entry, thresholds), found)
            if len(batch) > 1:
                tally.compare_alone(found, _row(session.run(None, entry.feed), 0))
    report = tally.report()
    report["batches"] = len(batches)
    report["canvases"] = sorted({str(batch[0].place.canvas) for batch in batches})
    for name, bound in tally.bounds().items():
        if not report[name] <= bound:
            raise VerificationError(
                f"{precision} graph against the eager model: {name} is {report[name]:.6g}, the "
                f"bound is {bound:g} (over {report['images']} images)"
            )
    return report


def _oracle(
    model: RetinaNet, checkpoint: Checkpoint, entry: Placed, thresholds: Thresholds
) -> Detections:
    feed = entry.feed
    sizes = torch.from_numpy(feed["image_sizes"])
    images = torch.from_numpy(feed["images"])
    with torch.no_grad():
        predictions = model(normalise(images, sizes, checkpoint.mean, checkpoint.std))
    anchors = anchors_of_canvas(entry.place.canvas, model.architecture.anchors)
    (found,) = detections_of(predictions, anchors, sizes, **thresholds.model_dump())
    return found


def _row(outputs: Outputs, index: int) -> Detections:
    count, boxes, scores, classes = (output[index] for output in outputs)
    return Detections(*(torch.from_numpy(part[: int(count)]) for part in (boxes, scores, classes)))


class _Tally:
    """Differences gathered over all images."""

    def __init__(self, bounds: Bounds, threshold: float) -> None:
        self._bounds, self.threshold = bounds, threshold
        self.images = self.detections = self.unmatched = 0
        self.box_px: list[float] = [0.0]
        self.score: list[float] = [0.0]
        self.alone_box_px = self.alone_score = 0.0

    def compare(self, expected: Detections, found: Detections) -> None:
        self.images += 1
        for mine, theirs in ((expected, found), (found, expected)):
            self.detections += len(mine.boxes)
            free = torch.ones(len(theirs.boxes), dtype=torch.bool)
            for box, score, label in zip(*mine, strict=True):
                best = self._counterpart(box, float(score), int(label), theirs, free)
                if best is not None:
                    free[best] = False  # each serves once: a detection told twice is a fault
                    self.box_px.append(float((theirs.boxes[best] - box).abs().max()))
                    self.score.append(float((theirs.scores[best] - score).abs()))
                elif float(score) > self.threshold + self._bounds.score:
                    self.unmatched += 1

    def _counterpart(
        self, box: torch.Tensor, score: float, label: int, others: Detections, free: torch.Tensor
    ) -> int | None:
        """Index of the nearest fitting detection that is free, if any."""
        overlap = iou_of(box[None], others.boxes)[0]
        fits = free & (others.classes == label) & (overlap >= self._bounds.least_iou)
        fits &= (others.scores - score).abs() <= self._bounds.score
        if not bool(fits.any()):
            return None
        return int(torch.where(fits, overlap, -torch.ones_like(overlap)).argmax())

    def compare_alone(self, in_batch: Detections, alone: Detections) -> None:
        if not torch.equal(in_batch.classes, alone.classes):
            self.alone_box_px = self.alone_score = float("inf")
        elif len(alone.boxes):
            box = float((in_batch.boxes - alone.boxes).abs().max())
            score = float((in_batch.scores - alone.scores).abs().max())
            self.alone_box_px = max(self.alone_box_px, box)
            self.alone_score = max(self.alone_score, score)

    def bounds(self) -> dict[str, float]:
        bounds = self._bounds
        return {
            "unmatched_share": bounds.unmatched,
            "worst_box_px": bounds.box_px,
            "worst_score": bounds.score,
            "alone_worst_box_px": bounds.alone_box_px,
            "alone_worst_score": bounds.alone_score,
        }

    def report(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "detections": self.detections,
            "unmatched_share": self.unmatched / max(1, self.detections),
            "worst_box_px": max(self.box_px),
            "mean_box_px": float(np.mean(self.box_px)),
            "worst_score": max(self.score),
            "mean_score": float(np.mean(self.score)),
            "alone_worst_box_px": self.alone_box_px,
            "alone_worst_score": self.alone_score,
        }
