"""Drawings: every box has its mark at its place."""

from __future__ import annotations

import numpy as np
import pytest

from model.doctor.charts import iou_histogram, round_step, size_scatter
from model.doctor.coverage import Coverage
from model.geometry import AnchorSpec


def test_scatter_shows_each_box_and_each_anchor_once() -> None:
    sizes = np.array([[32.0, 32.0], [200.0, 50.0], [0.01, 3.0]], np.float32)
    chart = size_scatter(sizes, np.array([True, True, False]), AnchorSpec())
    kinds = [mark.get("class") for mark in chart if mark.tag == "circle"]
    assert sorted(kinds) == ["missed", "reached", "reached"]
    anchors = [mark for mark in chart if mark.get("class") == "anchor"]
    assert len(anchors) == 45


def test_equal_sizes_lie_on_one_place_and_wider_ones_to_the_right() -> None:
    sizes = np.array([[32.0, 32.0], [64.0, 32.0], [128.0, 32.0]])
    chart = size_scatter(sizes, np.array([True] * 3), AnchorSpec())
    x, y = (
        sorted(float(mark.get(axis) or "") for mark in chart if mark.tag == "circle")
        for axis in ("cx", "cy")
    )
    assert y[0] == y[1] == y[2]
    assert x[1] - x[0] == pytest.approx(
        x[2] - x[1], abs=0.3
    )  # an octave each, coordinates of one decimal
    assert x[1] > x[0]


def test_histogram_counts_and_colours_by_the_foreground_iou() -> None:
    best = np.array([0.02, 0.47, 0.52, 0.53, 1.0])
    none = np.zeros(5, np.int64)
    chart = iou_histogram(Coverage(best, none, none, none, 0.5))
    bars = {bar[0].text: bar.get("class") for bar in chart if bar.tag == "rect" and bar[0].text}
    assert len(bars) == 20
    assert bars["0.00 to 0.05, boxes: 1"] == "missed"
    assert bars["0.45 to 0.50, boxes: 1"] == "missed"
    assert bars["0.50 to 0.55, boxes: 2"] == "reached"
    assert bars["0.95 to 1.00, boxes: 1"] == "reached"


@pytest.mark.parametrize(
    ("most", "step"),
    [(1, 1), (5, 1), (7, 2), (10, 2), (12, 5), (169, 50), (1010, 200), (6000, 2000)],
)
def test_ticks_are_round_numbers(most: int, step: int) -> None:
    assert round_step(most) == step


def test_histogram_says_what_it_counts() -> None:
    none = np.zeros(169, np.int64)
    chart = iou_histogram(Coverage(np.full(169, 0.7), none, none, none, 0.5))
    texts = [mark.text for mark in chart if mark.tag == "text"]
    assert texts[:4] == ["0", "50", "100", "150"]
    assert texts[-2:] == ["IoU of the best anchor", "boxes"]
