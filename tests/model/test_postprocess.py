"""Post-processing against rules on hand-made predictions, and against a slow NMS in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.postprocess import Detections, class_wise_nms, detections_of
from model.retinanet import Predictions

SIZE = torch.tensor([[100, 200]])


def detect(levels: list[tuple[list[list[float]], list[list[float]]]], **options: Any) -> Detections:
    """Detections of one 100x200 image: per level the boxes, and each box's logits per class."""
    anchors = [torch.tensor(boxes) for boxes, _ in levels]
    logits = [torch.tensor(rows)[None] for _, rows in levels]
    deltas = [torch.zeros(1, len(boxes), 4) for boxes, _ in levels]
    (found,) = detections_of(Predictions(logits, deltas), anchors, SIZE, **options)
    return found


A, B, C = [0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0], [90.0, 0.0, 99.0, 10.0]


def test_detections_are_sorted_and_carry_their_class() -> None:
    found = detect([([A, B], [[-9.0, 1.0], [2.0, -9.0]])])
    assert found.boxes.tolist() == [B, A]
    assert found.classes.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.880797, 0.731059])


def test_score_at_the_threshold_is_dropped() -> None:
    found = detect([([A, B], [[0.0], [0.001]])], score_threshold=0.5)
    assert found.boxes.tolist() == [B]


def test_iou_at_the_threshold_is_kept_and_above_it_suppressed() -> None:
    half, more = [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 5.1]
    assert len(detect([([A, half], [[2.0], [1.0]])], iou_threshold=0.5).boxes) == 2
    assert len(detect([([A, more], [[2.0], [1.0]])], iou_threshold=0.5).boxes) == 1


def test_classes_do_not_suppress_each_other() -> None:
    found = detect([([A], [[2.0, 1.0]])])
    assert found.classes.tolist() == [0, 1]
    assert found.boxes.tolist() == [A, A]


def test_suppressed_box_suppresses_nothing() -> None:
    row = [[float(x), 0.0, x + 10.0, 10.0] for x in (0, 3, 6)]
    # IoU of neighbours 7/13, of the outer two 4/16.
    assert detect([(row, [[3.0], [2.0], [1.0]])]).boxes.tolist() == [row[0], row[2]]


def test_top_k_is_per_level() -> None:
    levels = [([A, B], [[2.0], [3.0]]), ([C], [[1.0]])]
    assert detect(levels, pre_nms_top_k=1).boxes.tolist() == [B, C]


def test_top_k_counts_anchor_and_class_pairs() -> None:
    found = detect([([A, B], [[3.0, 2.0], [1.0, -9.0]])], pre_nms_top_k=2)
    assert found.boxes.tolist() == [A, A]


def test_at_most_max_detections_are_kept() -> None:
    found = detect([([A, B, C], [[1.0], [3.0], [2.0]])], max_detections=2)
    assert found.boxes.tolist() == [B, C]


def test_boxes_are_clipped_to_the_valid_image_before_nms() -> None:
    # Apart on the canvas (IoU 1/3), the same inside the image.
    outside = [190.0, 0.0, 200.0, 10.0], [190.0, 0.0, 220.0, 10.0]
    found = detect([(list(outside), [[2.0], [1.0]])])
    assert found.boxes.tolist() == [[190.0, 0.0, 200.0, 10.0]]


def test_box_without_area_in_the_image_is_dropped() -> None:
    found = detect([([[-20.0, 0.0, -5.0, 10.0], A], [[3.0], [1.0]])])
    assert found.boxes.tolist() == [A]


def test_nothing_above_the_threshold_gives_no_detections() -> None:
    found = detect([([A], [[-9.0]])])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.classes.dtype == torch.int64


def test_each_image_has_its_own_size_and_detections() -> None:
    logits = torch.tensor([[[1.0], [-9.0]], [[-9.0], [1.0]]])
    found = detections_of(
        Predictions([logits], [torch.zeros(2, 2, 4)]),
        [torch.tensor([A, B])],
        torch.tensor([[5, 100], [100, 55]]),
    )
    assert found[0].boxes.tolist() == [[0.0, 0.0, 10.0, 5.0]]
    assert found[1].boxes.tolist() == [[50.0, 0.0, 55.0, 10.0]]


def slow_nms(boxes: Any, scores: Any, classes: Any, threshold: float) -> list[int]:
    """Greedy NMS by the definition, in float64 and Python loops."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        for j in kept:
            width = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0])
            height = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1])
            inter = max(0.0, width) * max(0.0, height)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            if classes[i] == classes[j] and inter > threshold * (sum(areas) - inter):
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
def test_nms_agrees_with_the_slow_one(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    corner = random.integers(0, 30, (60, 2))
    boxes = np.concatenate([corner, corner + random.integers(5, 25, (60, 2))], axis=1)
    scores = np.round(random.random(60), 1)  # many ties
    classes = random.integers(0, 3, 60)
    found: Tensor = class_wise_nms(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(classes),
        threshold,
    )
    assert found.tolist() == slow_nms(boxes.tolist(), scores.tolist(), classes.tolist(), threshold)
