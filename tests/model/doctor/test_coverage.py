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
from model.doctor.proposal import Proposal, anchors_toml, propose_anchors
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


def around(centre: Tensor, half: list[float]) -> Tensor:
    return torch.cat([centre - torch.tensor(half), centre + torch.tensor(half)], dim=1)


def proposal_for(boxes: Tensor, classes: list[int], spec: AnchorSpec | None = None) -> Proposal:
    return propose_anchors([on_canvas(boxes)], np.array(classes), conditions(spec))


def reached_of(boxes: Tensor, spec: AnchorSpec | None) -> float:
    return measure_coverage([on_canvas(boxes)], conditions(spec)).share_reached()


def test_proposal_reaches_flat_boxes_with_as_few_anchors_as_will_do() -> None:
    """Boxes of 6:1, 32 px in size, which the paper's anchors don't reach in any size."""
    centre = ((torch.rand(60, 2) * torch.tensor([100.0, 80.0]) + 24) / 8).floor() * 8
    boxes = around(centre, [39.19, 6.532])
    assert reached_of(boxes, None) == 0
    found = proposal_for(boxes, [0] * 60, AnchorSpec(offset=0.0)).spec
    assert found
    assert (found.per_location, found.ratios, found.offset) == (1, (1 / 6,), 0.0)
    assert 32.0 in found.sizes
    assert reached_of(boxes, found) == 1


def test_small_class_is_reached_by_other_sizes_alone() -> None:
    """Ten boxes of 14 px, which only smaller anchors reach, beside 90 of 32 px that fit as it is.

    Size 23 with two shapes has the highest mean IoU and reaches none of the ten.
    """
    centre = ((torch.rand(100, 2) * torch.tensor([100.0, 60.0]) + 30) / 8).floor() * 8 + 4
    boxes = torch.cat([around(centre[:90], [16.0, 16.0]), around(centre[90:], [7.0, 7.0])])
    assert reached_of(boxes, None) == 0.9
    found = proposal_for(boxes, [0] * 90 + [1] * 10)
    assert found.spec == AnchorSpec((19.0, 38.0, 76.0, 152.0, 304.0))
    assert (found.tried, found.most) == (17, 1.0)
    assert reached_of(boxes, found.spec) == 1


def test_nothing_is_proposed_where_it_would_take_from_another_class() -> None:
    """Boxes of 2 px, which no anchor that is tried reaches, beside boxes that all reach."""
    centre = torch.rand(60, 2) * torch.tensor([100.0, 60.0]) + 30
    boxes = torch.cat([around(centre[:40], [16.0, 16.0]), around(centre[40:], [1.0, 1.0])])
    found = proposal_for(boxes, [0] * 40 + [1] * 20)
    # 17 sizes alone; 17 sizes, 1 to 3 scales and 1 to 3 of 11 ratios: 17 * 3 * 231.
    assert (found.spec, found.tried, found.most) == (None, 11798, pytest.approx(2 / 3))


def test_rare_class_has_a_say() -> None:
    """A flat box beside 300 square ones: by boxes alone it would not pay for an anchor."""
    centre = torch.full((301, 2), 60.0) + torch.rand(301, 2) * 8
    tiny = around(centre[:10], [8.0, 8.0])
    boxes = torch.cat([tiny, around(centre[10:300], [16.0, 16.0]), around(centre[300:], [48.0, 8])])
    fair = proposal_for(boxes, [0] * 300 + [1]).spec
    alike = proposal_for(boxes, [0] * 301).spec
    assert fair
    assert alike
    assert reached_of(boxes[300:], fair) == 1
    assert reached_of(boxes[300:], alike) == 0


@pytest.mark.parametrize("offset", [0.5, 0.0])
def test_lines_for_the_recipe_give_the_anchors_back(offset: float) -> None:
    spec = replace(AnchorSpec((7.0, 14.0, 28.0, 56.0, 112.0), (1.0,), (1 / 3, 1.4)), offset=offset)
    raw = tomllib.loads(anchors_toml(spec))
    data = {"train": [{"format": "drawn", "count": 1}]}
    found = parse_recipe({"name": "x", "data": data, **raw}, "x").model.anchors
    assert found.ratios == pytest.approx(spec.ratios, abs=1e-5)
    assert (found.sizes, found.scales, found.offset) == (spec.sizes, spec.scales, offset)
