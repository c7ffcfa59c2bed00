"""Anchor assignment on boxes whose overlaps are known by hand."""

from __future__ import annotations

import pytest
import torch

from model.errors import InputError
from model.matching import BACKGROUND, IGNORED, Matching, match_anchors

NONE = torch.zeros(0, 4)
BOX = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
LITERAL = Matching(low_quality=False)


def tall(height: float) -> list[float]:
    """Inside BOX, so that its IoU with it is height / 10."""
    return [0.0, 0.0, 10.0, height]


def match(anchors: list[list[float]], boxes: torch.Tensor, rule: Matching) -> list[int]:
    return match_anchors(torch.tensor(anchors), boxes, NONE, rule).box_index.tolist()


@pytest.mark.parametrize(
    ("height", "meaning"),
    [(10.0, 0), (5.0, 0), (4.99, IGNORED), (4.0, IGNORED), (3.99, BACKGROUND), (0.1, BACKGROUND)],
)
def test_half_is_positive_and_four_tenths_is_ignored(height: float, meaning: int) -> None:
    # IoU .5 and .4 themselves: 50 / 100 is exact in binary, 40 / 100 rounds like .4 does.
    assert match([tall(10.0), tall(height)], BOX, LITERAL) == [0, meaning]


def test_anchor_goes_to_the_box_it_overlaps_most() -> None:
    boxes = torch.tensor([tall(6.0), tall(9.0)])
    assert match([tall(10.0), tall(6.5)], boxes, LITERAL) == [1, 0]


def test_low_quality_box_gets_its_best_anchor() -> None:
    anchors = [tall(3.0), tall(2.0)]
    assert match(anchors, BOX, Matching()) == [0, BACKGROUND]
    assert match(anchors, BOX, LITERAL) == [BACKGROUND, BACKGROUND]


def test_low_quality_box_gets_all_anchors_that_tie() -> None:
    assert match([tall(3.0), [0.0, 7.0, 10.0, 10.0]], BOX, Matching()) == [0, 0]


def test_low_quality_rule_takes_an_ignored_anchor() -> None:
    assert match([tall(4.5)], BOX, Matching()) == [0]


def test_low_quality_rule_adds_nothing_to_a_box_with_a_good_anchor() -> None:
    assert match([tall(6.0), tall(3.0)], BOX, Matching()) == [0, BACKGROUND]


def test_low_quality_rule_never_takes_another_boxs_positive_anchor() -> None:
    boxes = torch.tensor([tall(10.0), [0.0, 0.0, 10.0, 2.0]])
    assert match([tall(8.0)], boxes, Matching()) == [0]


def test_box_that_touches_no_anchor_gets_none() -> None:
    far = torch.tensor([[500.0, 500.0, 510.0, 510.0]])
    assert match([tall(10.0), tall(5.0)], far, Matching()) == [BACKGROUND, BACKGROUND]


def test_without_boxes_all_is_background() -> None:
    matches = match_anchors(BOX.expand(3, 4), NONE, NONE)
    assert matches.box_index.tolist() == [BACKGROUND] * 3
    assert not matches.positive.any()
    assert matches.counted.all()


def test_background_inside_an_ignored_region_does_not_count() -> None:
    anchors = torch.tensor([tall(10.0), [5.0, 0.0, 15.0, 10.0], [6.0, 0.0, 16.0, 10.0]])
    matches = match_anchors(anchors, NONE, BOX)
    assert matches.box_index.tolist() == [IGNORED, IGNORED, BACKGROUND]
    assert matches.counted.tolist() == [False, False, True]


def test_positive_inside_an_ignored_region_stays_positive() -> None:
    assert match_anchors(BOX, BOX, BOX).box_index.tolist() == [0]


def test_share_is_of_the_anchor_not_of_the_region() -> None:
    crowd = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]])
    assert match_anchors(BOX, NONE, crowd).box_index.tolist() == [IGNORED]


@pytest.mark.parametrize(
    "change", [{"background": 0.6}, {"foreground": 1.1}, {"background": -0.1}, {"ignore_ioa": 0.0}]
)
def test_bad_rule_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="accepted is 0 <"):
        Matching(**change)  # type: ignore[arg-type]
