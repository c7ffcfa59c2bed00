"""How detections are compared, with literal boxes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from export.measure import Found
from export.sensitivity import Judge
from model.data.records import Record
from model.evaluation.coco_metrics import ImageDetections

CLASSES = ("cell", "platelet")


def detections(*rows: tuple[list[float], float, int]) -> ImageDetections:
    boxes, scores, classes = zip(*rows, strict=True) if rows else ((), (), ())
    return ImageDetections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )


def record(number: int) -> Record:
    none = np.zeros((0, 4), np.float32)
    return Record(number, f"{number}.png", (100, 100), none, np.zeros(0, np.int64), none)


REFERENCE: Found = {
    1: detections(([0, 0, 10, 10], 0.9, 0), ([50, 50, 60, 60], 0.5, 1), ([0, 0, 9, 9], 0.05, 0)),
    2: detections(([20, 20, 40, 40], 0.8, 0)),
}


def judge_of(found: Found) -> Judge:
    """A judge whose float graph finds `REFERENCE` and any other one `found`."""
    answers = iter([REFERENCE, found])
    records = [record(1), record(2)]
    return Judge.of(onnx.ModelProto(), CLASSES, records, None, lambda *_: next(answers))


def test_change_is_the_mean_over_the_float_graphs_detections() -> None:
    judge = judge_of(
        {
            # The first moved by 2 (IoU 8/12) and lost .1; the second is of another class now.
            1: detections(([2, 0, 12, 10], 0.8, 0), ([50, 50, 60, 60], 0.5, 0)),
            2: detections(([20, 20, 40, 40], 0.8, 0)),
        }
    )
    change = judge.change(onnx.ModelProto())
    assert change.score == pytest.approx((0.1 + 0.5 + 0.0) / 3)
    assert change.box == pytest.approx((1 / 3 + 1.0 + 0.0) / 3)
    assert change.loss == change.score + change.box


def test_same_detections_change_nothing_and_have_all_the_ap() -> None:
    assert judge_of(REFERENCE).change(onnx.ModelProto()) == (0.0, 0.0, 1.0)


def test_graph_that_finds_nothing_loses_everything() -> None:
    change = judge_of({1: detections(), 2: detections()}).change(onnx.ModelProto())
    assert change == (pytest.approx((0.9 + 0.5 + 0.8) / 3), 1.0, 0.0)


def test_detections_above_the_limit_stand_for_labels() -> None:
    labels = judge_of(REFERENCE).coco
    assert [note["bbox"] for note in labels["annotations"]] == [
        [0, 0, 10, 10],
        [50, 50, 10, 10],
        [20, 20, 20, 20],
    ]


def test_spread_takes_few_pictures_from_all_over() -> None:
    records = [record(number) for number in range(10)]
    found = dict.fromkeys(range(10), REFERENCE[2])
    judge = Judge.of(onnx.ModelProto(), CLASSES, records, None, lambda *_: found)
    few = judge.spread(4)
    assert [r.image_id for r in few.records] == [0, 3, 6, 9]
    assert list(few.reference) == [0, 3, 6, 9]
    assert judge.spread(99).records == records
