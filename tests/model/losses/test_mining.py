"""Hard example mining on anchors whose overlaps and losses are known."""

from __future__ import annotations

import pytest
import torch

from model.losses.mining import Mining, hardest_anchors
from model.matching import BACKGROUND, IGNORED


def row_of_anchors(count: int, step: float) -> torch.Tensor:
    """10 x 10 anchors, each `step` to the right of the last."""
    left = torch.arange(count) * step
    zero = torch.zeros(count)
    return torch.stack([left, zero, left + 10, zero + 10], dim=1)


def chosen(
    anchors: torch.Tensor, losses: list[float], index: list[int], **mining: object
) -> list[int]:
    rule = Mining(**mining)  # type: ignore[arg-type]
    found = hardest_anchors(anchors, torch.tensor([losses]), torch.tensor([index]), rule)
    return found[0].nonzero()[:, 0].tolist()


APART = row_of_anchors(8, 20.0)
LOSSES = [1.0, 8.0, 3.0, 7.0, 2.0, 6.0, 4.0, 5.0]


def test_ohem_takes_the_anchors_of_highest_loss_whatever_their_kind() -> None:
    index = [0, 0, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, 0, BACKGROUND]
    assert chosen(APART, LOSSES, index, batch_size=4) == [1, 3, 5, 7]


def test_ignored_anchors_are_no_examples() -> None:
    index = [0, IGNORED, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, 0, BACKGROUND]
    assert chosen(APART, LOSSES, index, batch_size=4) == [3, 5, 6, 7]


def test_anchor_beside_a_harder_one_is_thinned_out() -> None:
    # Neighbours have IoU 7/13 = .54, the next but one 4/16.
    anchors = row_of_anchors(6, 3.0)
    losses, index = [1.0, 2.0, 3.0, 6.0, 5.0, 4.0], [BACKGROUND] * 6
    assert chosen(anchors, losses, index, batch_size=4, nms=0.5) == [1, 3, 5]
    assert chosen(anchors, losses, index, batch_size=4, nms=0.6) == [2, 3, 4, 5]


def test_one_to_three_takes_three_negatives_for_each_positive() -> None:
    index = [BACKGROUND, BACKGROUND, 0, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND]
    found = chosen(APART, LOSSES, index, method="ohem_1_3", batch_size=16)
    assert found == [1, 2, 3, 5]  # the positive, and the three hardest negatives


def test_one_to_three_leaves_room_for_the_negatives() -> None:
    index = [0, 0, 0, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND]
    found = chosen(APART, LOSSES, index, method="ohem_1_3", batch_size=4)
    assert found == [1, 3, 5, 7]  # the hardest of the positives alone


def test_one_to_three_keeps_a_positive_beside_a_harder_negative() -> None:
    anchors = row_of_anchors(4, 3.0)
    index = [BACKGROUND, 0, BACKGROUND, BACKGROUND]
    found = chosen(anchors, [4.0, 1.0, 3.0, 2.0], index, method="ohem_1_3", batch_size=8)
    assert found == [0, 1, 2]


def test_one_to_three_without_positives_is_empty() -> None:
    assert chosen(APART, LOSSES, [BACKGROUND] * 8, method="ohem_1_3", batch_size=8) == []


@pytest.mark.parametrize("method", ["ohem", "ohem_1_3"])
def test_each_image_has_its_own_minibatch(method: str) -> None:
    losses = torch.tensor([LOSSES, LOSSES[::-1]])
    index = torch.tensor([[0] + [BACKGROUND] * 7, [BACKGROUND] * 7 + [0]])
    found = hardest_anchors(APART, losses, index, Mining(method, batch_size=4))
    assert found[0].tolist() == found[1].flip(0).tolist()
    assert found.sum(dim=1).tolist() == [4, 4]
