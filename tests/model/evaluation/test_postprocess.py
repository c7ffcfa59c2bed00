"""The fast post-processing against the oracle, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.anchors import anchors_of_canvas
from model.evaluation.postprocess import batch_detections
from model.postprocess import detections_of
from model.retinanet import Predictions

CANVAS = (96, 128)
ANCHORS = anchors_of_canvas(CANVAS)
SIZES = torch.tensor([[96, 128], [90, 100], [33, 128]])


def predictions(seed: int, num_classes: int, shift: float, coarse: bool = False) -> Predictions:
    """Random predictions for three images; `coarse` gives many equal scores."""
    random = torch.Generator().manual_seed(seed)
    logits = [torch.randn(3, len(a), num_classes, generator=random) * 2 + shift for a in ANCHORS]
    if coarse:
        logits = [level.round() for level in logits]
    deltas = [torch.randn(3, len(a), 4, generator=random) * 0.3 for a in ANCHORS]
    return Predictions(logits, deltas)


@pytest.mark.parametrize(
    ("made", "options"),
    [
        ({"num_classes": 3, "shift": -6.0}, {}),
        ({"num_classes": 1, "shift": -4.0}, {}),
        ({"num_classes": 12, "shift": -6.0, "coarse": True}, {}),
        ({"num_classes": 3, "shift": 0.0}, {"pre_nms_top_k": 50}),
        ({"num_classes": 3, "shift": -4.0}, {"max_detections": 7, "iou_threshold": 0.3}),
        ({"num_classes": 3, "shift": -4.0}, {"score_threshold": 0.5}),
        ({"num_classes": 3, "shift": -50.0}, {}),
    ],
    ids=["usual", "one class", "ties", "cut by top-k", "cut by the cap", "threshold", "nothing"],
)
def test_batch_detections_equal_the_oracle(made: dict[str, Any], options: dict[str, Any]) -> None:
    for seed in range(2):
        given = predictions(seed, **made)
        fast = batch_detections(given, ANCHORS, SIZES, **options)
        slow = detections_of(given, ANCHORS, SIZES, **options)
        for ours, oracle in zip(fast, slow, strict=True):
            for mine, theirs in zip(ours, oracle, strict=True):
                assert torch.equal(mine, theirs)
                assert mine.dtype == theirs.dtype


def test_image_without_candidates_stands_beside_one_with() -> None:
    given = predictions(0, 3, -6.0)
    for level in given.logits:
        level[1] = -50.0
    counts = [len(found.boxes) for found in batch_detections(given, ANCHORS, SIZES)]
    assert counts[1] == 0
    assert min(counts[0], counts[2]) > 0


def test_score_at_the_threshold_is_dropped() -> None:
    logits = [torch.full((1, len(a), 1), -9.0) for a in ANCHORS]
    logits[2][0, 0], logits[2][0, 40] = 0.0, 0.01
    deltas = [torch.zeros(1, len(a), 4) for a in ANCHORS]
    (found,) = batch_detections(
        Predictions(logits, deltas), ANCHORS, SIZES[:1], score_threshold=0.5
    )
    assert found.scores.tolist() == pytest.approx([0.5025], abs=1e-4)
