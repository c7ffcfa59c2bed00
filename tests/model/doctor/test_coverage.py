"""Anchor coverage against brute force, and anchors proposed for boxes that have few."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.anchors import anchors_of_canvas
from model.boxes import iou_of
from model.doctor.best_anchors import best_ious
from model.doctor.conditions import Conditions
from model.doctor.coverage import CanvasBoxes, measure_coverage
from model.doctor.proposal import anchors_toml, propose_anchors
from model.geometry import AnchorSpec
from model.letterbox import Canvas
from model.matching import Matching
from model.recipe_file import parse_recipe

CANVAS = Canvas(128, 192)


def random_boxes(count: int, most: float = 120.0) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([185.0, 120.0])
    sides = 2 + torch.rand(count, 2) ** 2 * most
    bound = torch.tensor([192.0, 128.0])
    return torch.cat([corner, torch.minimum(corner + sides, bound)], dim=1)


def on_canvas(boxes: Tensor) -> CanvasBoxes:
    return CanvasBoxes(CANVAS, boxes, np.arange(len(boxes)))


def conditions(spec: AnchorSpec | None = None, low_quality: bool = True) -> Conditions:
    return Conditions(128, None, spec or AnchorSpec(), Matching(low_quality=low_quality))


@pytest.mark.parametrize(
    "spec",
    [
        AnchorSpec(),
        AnchorSpec(offset=0.0),
        AnchorSpec((9.0, 20.0, 40.0, 70.0, 200.0), (1.0, 1.5), (0.2, 1.0, 3.0), 0.25),
    ],
)
def test_best_anchors_are_those_of_brute_force(spec: AnchorSpec) -> None:
    boxes = random_boxes(200)
    found = best_ious(boxes.numpy(), np.array([CANVAS] * 200), spec)
    for level, anchors in enumerate(anchors_of_canvas(CANVAS, spec)):
        every = iou_of(anchors, boxes).reshape(-1, spec.per_location, 200)
        expected = every.amax(dim=0).T.numpy()
        np.testing.assert_allclose(found[level], expected, atol=2e-6)  # float32 against float64


def test_coverage_of_three_boxes_worked_out_by_hand() -> None:
    # A P3 anchor itself; a box too narrow for any; a copy of the first that takes nothing from it.
    exact = [68 - 16.0, 68 - 16.0, 68 + 16.0, 68 + 16.0]
    narrow = [100.0, 10.0, 102.0, 60.0]
    found = measure_coverage([on_canvas(torch.tensor([exact, narrow, exact]))], conditions())
    assert found.best_iou[[0, 2]].tolist() == [1.0, 1.0]
    assert found.level[0] == 0
    assert found.reached.tolist() == [True, False, True]
    assert found.rescued.tolist() == [False, True, False]
    assert found.without.tolist() == [False, False, True]
    assert found.share_reached() == pytest.approx(2 / 3)
    assert found.positives_of_picture.tolist() == [found.positives.sum()]


def test_literal_rule_leaves_the_odd_box_without_an_anchor() -> None:
    narrow = torch.tensor([[100.0, 10.0, 102.0, 60.0]])
    found = measure_coverage([on_canvas(narrow)], conditions(low_quality=False))
    assert (found.rescued.tolist(), found.without.tolist()) == ([False], [True])


def test_pictures_are_counted_one_by_one() -> None:
    boxes = random_boxes(12, 60.0)
    whole = [on_canvas(boxes[:5]), on_canvas(boxes[5:])]
    found = measure_coverage(whole, conditions())
    apart = [measure_coverage([one], conditions()) for one in whole]
    assert found.positives.tolist() == [n for one in apart for n in one.positives.tolist()]
    assert found.positives_of_picture.tolist() == [one.positives.sum() for one in apart]


def test_proposal_reaches_flat_boxes() -> None:
    """Boxes of 80x16 px, which the paper's anchors don't reach and flatter ones do."""
    centre = torch.rand(60, 2) * torch.tensor([100.0, 80.0]) + torch.tensor([45.0, 20.0])
    half = torch.tensor([40.0, 8.0])
    pictures = [on_canvas(torch.cat([centre - half, centre + half], dim=1))]
    assert measure_coverage(pictures, conditions()).share_reached() == 0
    spec = propose_anchors(pictures, np.zeros(60, np.int64), AnchorSpec())
    assert measure_coverage(pictures, conditions(spec)).share_reached() == 1
    assert min(spec.ratios) < 0.3
    assert spec.per_location <= AnchorSpec().per_location


def test_proposal_takes_one_shape_where_one_is_enough() -> None:
    centre = torch.rand(60, 2) * torch.tensor([140.0, 90.0]) + 24
    pictures = [on_canvas(torch.cat([centre - 16, centre + 16], dim=1))]
    spec = propose_anchors(pictures, np.zeros(60, np.int64), AnchorSpec(offset=0.0))
    assert (spec.per_location, spec.ratios, spec.offset) == (1, (1.0,), 0.0)
    assert 32.0 in spec.sizes


def test_rare_class_has_a_say() -> None:
    """A flat box beside 300 square ones: by boxes alone it would not pay for an anchor."""
    centre = torch.full((301, 2), 60.0) + torch.rand(301, 2) * 8
    half = torch.full((301, 2), 16.0)
    half[300:] = torch.tensor([48.0, 8.0])
    pictures = [on_canvas(torch.cat([centre - half, centre + half], dim=1))]
    classes = np.array([0] * 300 + [1])
    fair = propose_anchors(pictures, classes, AnchorSpec())
    alike = propose_anchors(pictures, np.zeros(301, np.int64), AnchorSpec())
    assert (len(fair.ratios), len(alike.ratios)) == (2, 1)


@pytest.mark.parametrize("offset", [0.5, 0.0])
def test_lines_for_the_recipe_give_the_anchors_back(offset: float) -> None:
    spec = replace(AnchorSpec((7.0, 14.0, 28.0, 56.0, 112.0), (1.0,), (1 / 3, 1.4)), offset=offset)
    raw = tomllib.loads(anchors_toml(spec))
    data = {"train": [{"format": "drawn", "count": 1}]}
    found = parse_recipe({"name": "x", "data": data, **raw}, "x").model.anchors
    assert found.ratios == pytest.approx(spec.ratios, abs=1e-5)
    assert (found.sizes, found.scales, found.offset) == (spec.sizes, spec.scales, offset)
