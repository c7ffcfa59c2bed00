"""An image stands among very different mates, and what that changes is measured."""

from __future__ import annotations

import numpy as np
import pytest

from export.company import ON_CPU, AloneTally, companies, cpu_bounds
from export.engines.session import Detections
from export.figures import first_past
from export.manifest import Thresholds
from model.letterbox import Canvas


def found(x: float, score: float, count: int = 1) -> Detections:
    boxes = np.array([[x, 0, x + 20, 20]] * count, np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(count, score, np.float32), np.zeros(count, np.int64))


def said(alone: Detections, in_batch: Detections) -> str | None:
    tally = AloneTally(Thresholds(), ON_CPU)
    tally.add(alone, in_batch)
    past = first_past(tally.figures())
    return None if past is None else str(past)


def test_subject_is_the_same_in_every_company_and_its_mates_differ() -> None:
    batches = list(companies(Canvas(64, 96), 8))
    assert [(len(batch), position) for batch, position in batches] == [
        (2, 1), (3, 1), (5, 0), (8, 7),
    ]  # fmt: skip
    subjects = [batch[position].image for batch, position in batches]
    assert all(np.array_equal(subject, subjects[0]) for subject in subjects)
    largest, position = batches[-1]
    contents = {(mate.image.tobytes(), mate.place) for mate in largest[:position]}
    assert len(contents) == 5
    assert subjects[0].tobytes() not in {content for content, _ in contents}


def test_no_batch_is_larger_than_asked_for() -> None:
    assert [len(batch) for batch, _ in companies(Canvas(64, 96), 3)] == [2, 3]


def test_last_bits_may_differ() -> None:
    assert said(found(5, 0.9), found(5.0005, 0.900005)) is None


@pytest.mark.parametrize(
    ("in_batch", "expected"),
    [
        (found(5.002, 0.9), "alone_worst_box_px of the company is 0.00200081, the bound is 0.001"),
        (found(5, 0.9001), "alone_worst_score of the company is 0.000100017, the bound is 1e-05"),
        (found(9, 0.9), "alone_worst_box_px of the company is inf, the bound is 0.001"),
        (found(5, 0.9, 0), "alone_worst_box_px of the company is inf, the bound is 0.001"),
    ],
)
def test_more_is_dependence(in_batch: Detections, expected: str) -> None:
    assert said(found(5, 0.9), in_batch) == expected


def test_bounds_are_wider_where_values_are_halves() -> None:
    assert (cpu_bounds("fp32").box_px, cpu_bounds("int8").score) == (1e-3, 1e-5)
    assert (cpu_bounds("fp16").box_px, cpu_bounds("fp16").score) == (0.5, 2e-3)
