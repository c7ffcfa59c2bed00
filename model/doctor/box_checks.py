"""The boxes: have they area, do they lie in their picture, is each there once?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from model.boxes import iou_of
from model.doctor.catalogue import Severity
from model.doctor.conditions import Conditions
from model.doctor.findings import EXAMPLES, Findings
from model.doctor.labels import Labels

TINY_PX = 4.0
"""Half the finest stride: such an object is less than half a location wide."""

ROUNDING_PX = 2.0
"""Overhang that 1-based or rounded corners cause."""

SAME_IOU = 0.95
"""Two boxes of one class that overlap so much are one object."""

ROWS = 512
"""Rows of the IoU matrix of one picture at a time, so that crowded pictures need little memory."""


def check_boxes(
    labels: Labels, sizes: NDArray[np.float64], conditions: Conditions, findings: Findings
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.int64]]]:
    """Adds what is wrong with the boxes.

    `sizes`: (height, width) of each picture, float64 [P, 2], NaN where nobody knows.
    Returns which boxes training learns from, bool [N], and the places of the faulty ones by
    finding.
    """
    boxes, faulty = labels.boxes, {}

    def add(code: str, mask: NDArray[np.bool_], severity: Severity | None, **details: str) -> None:
        faulty[code] = np.flatnonzero(mask)
        texts = [labels.box_text(place) for place in faulty[code][:EXAMPLES].tolist()]
        findings.add(code, texts, len(faulty[code]), severity, **details)

    bound = sizes[labels.picture_of][:, [1, 0, 1, 0]]
    finite = np.isfinite(boxes[:, 0]) & np.isfinite(boxes[:, 1:]).all(axis=1)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        with_area = finite & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        # Unknown sizes bound nothing: fmin passes over NaN.
        clipped = np.fmin(np.maximum(boxes, 0.0), bound)
        visible = clipped[:, 2:] - clipped[:, :2]
        overhang = np.fmax(-boxes, boxes - bound)
    kept: NDArray[np.bool_] = with_area & np.all(visible > 0, axis=1)
    severity = Severity.ERROR if labels.source.bad_boxes == "refuse" else Severity.WARNING
    add("box-not-finite", ~finite, severity)
    add("box-without-area", finite & ~with_area, severity)
    add("box-outside", with_area & ~kept, severity)
    farthest = overhang.max(axis=1, initial=0.0, where=kept[:, None])
    most = farthest.max(initial=0.0)
    rounding = Severity.NOTE if most <= ROUNDING_PX else None
    add("box-partly-outside", farthest > 0, rounding, overhang=f"{most:g}")
    learnt = kept & ~labels.ignored
    on_canvas = (visible * conditions.factors(sizes)[labels.picture_of]).min(axis=1)
    add("box-tiny", learnt & (on_canvas < TINY_PX), None, limit=f"{TINY_PX:g}",
        scale=str(conditions.scale))  # fmt: skip
    add("boxes-crowd", labels.ignored, None)
    for code, mask in _repeats(labels, learnt).items():
        add(code, mask, None)
    if not learnt.any():
        findings.add("boxes-missing", count=1)
    return learnt, faulty


def by_picture(labels: Labels, mask: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each picture that has boxes of the mask, with the places of those boxes."""
    places = np.flatnonzero(mask)
    if len(places) == 0:
        return
    places = places[np.argsort(labels.picture_of[places], kind="stable")]
    pictures, starts = np.unique(labels.picture_of[places], return_index=True)
    yield from zip(pictures.tolist(), np.split(places, starts[1:]), strict=True)


def _repeats(labels: Labels, mask: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Boxes on the place of an earlier one of their picture, bool [N] by finding."""
    codes = ("box-twice", "box-nearly-twice", "box-two-classes")
    twice, nearly, two = (np.zeros(len(mask), bool) for _ in codes)
    for _, places in by_picture(labels, mask):
        boxes = torch.from_numpy(labels.boxes[places])
        for start in range(0, len(places), ROWS):
            iou = iou_of(boxes[start : start + ROWS], boxes)
            row, column = (iou > SAME_IOU).tril(diagonal=start - 1).nonzero().numpy().T
            later, earlier = places[row + start], places[column]
            alike = labels.classes[later] == labels.classes[earlier]
            equal = (labels.boxes[later] == labels.boxes[earlier]).all(axis=1)
            twice[later[alike & equal]] = True
            nearly[later[alike & ~equal]] = True
            two[later[~alike]] = True
    return dict(zip(codes, (twice, nearly & ~twice, two), strict=True))
