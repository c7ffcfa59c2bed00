"""Anchor assignment on boxes whose overlaps are known by hand."""

from __future__ import annotations

import pytest
import torch

import model.matching as matching
from model.boxes import area_of, intersection_of, iou_of
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


def dense_matches(
    anchors: torch.Tensor, boxes: torch.Tensor, ignored: torch.Tensor, rule: Matching
) -> torch.Tensor:
    """The rule over the whole [N, M] matrix at once, anchor by anchor where it is intricate."""
    iou = iou_of(anchors, boxes)
    best, nearest = iou.max(dim=1)
    index = torch.where(best >= rule.foreground, nearest, IGNORED)
    index[best < rule.background] = BACKGROUND
    if rule.low_quality:
        best_of_box = iou.amax(dim=0)
        for anchor in (index < 0).nonzero()[:, 0]:
            own = (iou[anchor] == best_of_box) & (best_of_box > 0) & (best_of_box < rule.foreground)
            if own.any():
                index[anchor] = (iou[anchor] * own).argmax()
    inside = intersection_of(anchors, ignored)[:, 0] / area_of(anchors)
    index[(index == BACKGROUND) & (inside >= rule.ignore_ioa)] = IGNORED
    return index


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("piece", [1, 70, 1 << 20])
def test_pieces_give_exactly_what_the_whole_overlap_matrix_gives(
    monkeypatch: pytest.MonkeyPatch, piece: int, low_quality: bool
) -> None:
    monkeypatch.setattr(matching, "chunk_elements", lambda device: piece)
    corner = (torch.rand(300, 2) * 60).round()  # many ties
    anchors = torch.cat([corner, corner + 10 + (torch.rand(300, 2) * 3).round() * 10], dim=1)
    corner = (torch.rand(12, 2) * 60).round()
    boxes = torch.cat([corner, corner + 3 + (torch.rand(12, 2) * 8).round() * 5], dim=1)
    crowd = torch.tensor([[0.0, 0.0, 25.0, 25.0]])
    rule = Matching(low_quality=low_quality)
    found = match_anchors(anchors, boxes, crowd, rule).box_index
    assert found.tolist() == dense_matches(anchors, boxes, crowd, rule).tolist()
    assert {BACKGROUND, IGNORED} < set(found.tolist())


def test_no_overlap_matrix_of_all_anchors_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        sizes.append(len(a) * len(b))
        return iou_of(a, b)

    monkeypatch.setattr(matching, "iou_of", counting)
    corner = torch.rand(30_000, 2) * 500
    match_anchors(torch.cat([corner, corner + 32], dim=1), torch.rand(50, 4) + BOX, NONE)
    assert 0 < max(sizes) <= 1 << 16
