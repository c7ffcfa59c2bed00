"""Precision, recall and F1 by score threshold, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.evaluation.coco_metrics import ImageDetections
from model.evaluation.thresholds import ScoreSweep, sweeps_of


def sweep(objects: int, *scored: tuple[float, bool]) -> ScoreSweep:
    scores, hits = zip(*scored, strict=True) if scored else ((), ())
    return ScoreSweep(np.array(scores, np.float64), np.array(hits, np.bool_), objects)


MIXED = sweep(4, (0.9, True), (0.8, False), (0.6, True), (0.3, True), (0.2, False), (0.1, False))


def test_rates_are_those_of_what_scores_more() -> None:
    rates = MIXED.at([0.0, 0.25, 0.3, 0.7])
    assert rates.precision.tolist() == pytest.approx([3 / 6, 3 / 4, 2 / 3, 1 / 2])
    assert rates.recall.tolist() == pytest.approx([3 / 4, 3 / 4, 2 / 4, 1 / 4])
    assert rates.f1.tolist() == pytest.approx([0.6, 0.75, 4 / 7, 2 / 6])


def test_best_threshold_is_the_middle_of_the_equally_good() -> None:
    # .2 to .299 keep the best four; the middle of these hundred is .25.
    assert MIXED.best_threshold() == 0.25


def test_best_threshold_of_a_flawless_detector_leaves_room_on_both_sides() -> None:
    assert sweep(1, (0.9, True), (0.1, False)).best_threshold() == 0.5


def test_without_a_hit_there_is_no_best_threshold() -> None:
    assert sweep(2, (0.9, False)).best_threshold() is None
    assert sweep(2).best_threshold() is None
    assert sweep(0, (0.9, False)).best_threshold() is None


def test_unknown_rates_are_nan_and_their_f1_zero() -> None:
    nothing = sweep(2).at(0.5)
    assert math.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0.0, 0.0)
    no_objects = sweep(0, (0.9, False)).at(0.5)
    assert (no_objects.precision, no_objects.f1) == (0.0, 0.0)
    assert math.isnan(no_objects.recall)


def test_sweeps_are_of_each_class_and_of_everything() -> None:
    boxes = np.zeros((3, 4), np.float32)
    scores, classes = np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0])
    image = (ImageDetections(boxes, scores, classes), np.array([True, False, False]))
    overall, by_class = sweeps_of(("cat", "dog"), [image, image], np.array([3, 1]))
    assert (overall.objects, len(overall.scores), int(overall.hits.sum())) == (4, 6, 2)
    assert by_class["cat"].hits.tolist() == [True, False, True, False]
    assert by_class["dog"].scores.tolist() == pytest.approx([0.8, 0.8])
    assert by_class["dog"].objects == 1
