"""What 8 bits change in a model's detections: of a whole graph, and group by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.measure import Found
from model.boxes import iou_of
from model.data.records import Record, as_coco
from model.evaluation.coco_metrics import ImageDetections, coco_metrics

LEAST_SCORE = 0.1
"""Detections of the float graph below it are not asked after: they come and go."""

LEAST_IOU = 0.5
"""What still counts as the same object."""

LABEL_SCORE = 0.3
"""Detections of the float graph above it stand for labels where there are none."""


Detect = Callable[[onnx.ModelProto, Sequence[Record]], Found]
"""Runs a graph on pictures."""


class Change(NamedTuple):
    """How a graph's detections differ from the float graph's.

    `score`: mean change of the score, all of it where the object is lost. `box`: mean of 1 - IoU.
    `ap`: the graph's AP; None if nothing was there to find.
    """

    score: float
    box: float
    ap: float | None

    @property
    def loss(self) -> float:
        """One figure to rank by. AP does not do: of one group it moves less than its noise."""
        return self.score + self.box


@dataclass(frozen=True)
class Judge:
    """Compares graphs with the float graph, whose detections are `reference`, on pictures.

    `coco`: the labels for AP; where there are none, the float graph's own detections above
    `LABEL_SCORE`.
    """

    reference: Found
    classes: Sequence[str]
    records: Sequence[Record]
    coco: dict[str, Any]
    detect: Detect

    @classmethod
    def of(
        cls,
        graph: onnx.ModelProto,
        classes: Sequence[str],
        records: Sequence[Record],
        coco: dict[str, Any] | None,
        detect: Detect,
    ) -> Judge:
        """A judge whose reference is this graph."""
        found = detect(graph, records)
        labels = _as_labels(records, found, classes) if coco is None else coco
        return cls(found, classes, records, labels, detect)

    def spread(self, count: int) -> Judge:
        """The same judge on up to `count` pictures, spread over all."""
        records = self.records[:: max(1, -(-len(self.records) // count))]
        found = {record.image_id: self.reference[record.image_id] for record in records}
        return replace(self, reference=found, records=records)

    def change(self, graph: onnx.ModelProto) -> Change:
        """What this graph changes."""
        found = self.detect(graph, self.records)
        pairs = [_differences(self.reference[key], found[key]) for key in self.reference]
        score, box = np.concatenate([*pairs, np.zeros((2, 0))], axis=1)
        return Change(
            float(score.mean()) if score.size else 0.0,
            float(box.mean()) if box.size else 0.0,
            self.ap(found),
        )

    def ap(self, found: Found) -> float | None:
        """The AP of detections."""
        ap: float | None = coco_metrics(self.coco, self.classes, found)["AP"]
        return ap


def _differences(mine: ImageDetections, theirs: ImageDetections) -> NDArray[np.float32]:
    """Change of score and 1 - IoU of one image's detections, [2, N]."""
    mine = mine.at(mine.scores > LEAST_SCORE)
    if not len(mine.scores) or not len(theirs.scores):
        return np.stack([mine.scores, np.ones_like(mine.scores)])
    overlap = iou_of(torch.from_numpy(mine.boxes), torch.from_numpy(theirs.boxes)).numpy()
    overlap = np.where(mine.classes[:, None] == theirs.classes[None], overlap, 0.0)
    nearest, iou = overlap.argmax(axis=1), overlap.max(axis=1)
    score = np.where(iou > LEAST_IOU, np.abs(theirs.scores[nearest] - mine.scores), mine.scores)
    return np.stack([score, 1.0 - iou])


def _as_labels(records: Sequence[Record], found: Found, classes: Sequence[str]) -> dict[str, Any]:
    """COCO labels from detections."""
    labelled = []
    for record in records:
        sure = found[record.image_id].at(found[record.image_id].scores > LABEL_SCORE)
        none = np.zeros((0, 4), np.float32)
        labelled.append(
            Record(record.image_id, record.source, record.size, sure.boxes, sure.classes, none)
        )
    return as_coco([(record, str(record.source)) for record in labelled], classes)
