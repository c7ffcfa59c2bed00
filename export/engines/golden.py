"""The golden record: what a graph found at export, to be found again wherever it runs.

No torch here: a service that swaps bundles or engines checks the new one by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from export.engines.parity import BOUNDS, Detector, Differences
from export.engines.session import Detections
from export.figures import Figure
from export.inputs import Placed, drawn_pictures, placed, run
from export.manifest import Golden, Manifest, Precision, Thresholds
from model.errors import InputError
from model.letterbox import Canvas

PICTURES = 2
ROWS = 50
"""Detections kept of each picture: the best."""


class GoldenError(InputError):
    """The record can't be compared here; the message says why."""


def golden_of(detector: Detector, manifest: Manifest) -> list[Golden]:
    """The record of a graph that was verified: what it finds in drawn pictures.

    On the smallest canvas of the default scale. Where the model finds nothing at the manifest's
    score threshold, what it believes most counts.
    """
    canvas = min(
        manifest.canvases_by_scale[manifest.default_scale], key=lambda c: (c.height * c.width, c)
    )
    return [_record(detector, number, canvas, manifest.thresholds) for number in range(PICTURES)]


def golden_figures(
    detector: Detector, record: Sequence[Golden], precision: Precision, thresholds: Thresholds
) -> list[Figure]:
    """How far a detector lies from a record, with the bounds of its precision.

    Raises GoldenError for an empty record, and where drawing gives other pictures than at export.
    """
    if not record:
        raise GoldenError(
            "the bundle has no golden record: it is of an older export; export it again"
        )
    figures = []
    for golden in record:
        entry = _picture(golden.picture, Canvas.parse(golden.canvas))
        if _hash_of(entry) != golden.sha256:
            raise GoldenError(
                "the golden record can't be compared here: pictures are drawn otherwise than "
                "where the bundle was exported"
            )
        at = thresholds.model_copy(update={"score_threshold": golden.score_threshold})
        differences = Differences(BOUNDS[precision], at)
        (found,) = run(detector, [entry], at)
        differences.compare(_recorded(golden), found)
        figures += differences.figures("golden record")
    return figures


def _record(detector: Detector, number: int, canvas: Canvas, thresholds: Thresholds) -> Golden:
    entry = _picture(number, canvas)
    (found,) = run(detector, [entry], thresholds)
    if not len(found):
        thresholds = thresholds.model_copy(update={"score_threshold": 0.0})
        (found,) = run(detector, [entry], thresholds)
    threshold = thresholds.score_threshold
    if len(found) > ROWS:
        # Not a cut after so many rows: a threshold between them means the same to every engine.
        threshold = float(found.scores[ROWS])
        found = found.where(found.scores > threshold)
    return Golden(
        picture=number,
        canvas=str(canvas),
        sha256=_hash_of(entry),
        score_threshold=threshold,
        boxes=[tuple(box) for box in found.boxes.round(3).tolist()],
        scores=found.scores.round(7).tolist(),
        classes=found.classes.tolist(),
    )


def _picture(number: int, canvas: Canvas) -> Placed:
    picture = drawn_pictures(canvas, number + 1)[number]
    return placed(picture, min(canvas), [canvas])


def _recorded(golden: Golden) -> Detections:
    return Detections(
        np.array(golden.boxes, np.float32).reshape(-1, 4),
        np.array(golden.scores, np.float32),
        np.array(golden.classes, np.int64),
    )


def _hash_of(entry: Placed) -> str:
    return hashlib.sha256(entry.image.tobytes()).hexdigest()
