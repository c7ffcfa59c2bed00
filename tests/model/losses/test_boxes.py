"""The box losses against hand values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.losses.boxes import BOX_LOSSES, giou_loss, smooth_l1_loss


@pytest.mark.parametrize(
    ("distance", "beta", "loss"),
    [(0.5, 1.0, 0.125), (-2.0, 1.0, 1.5), (0.1, 0.2, 0.025), (0.5, 0.0, 0.5), (0.0, 0.0, 0.0)],
)
def test_smooth_l1_of_hand_cases(distance: float, beta: float, loss: float) -> None:
    found = smooth_l1_loss(torch.tensor([distance]), torch.zeros(1), beta)
    assert found.item() == pytest.approx(loss)


def test_smooth_l1_with_beta_zero_has_a_finite_gradient_at_zero() -> None:
    x = torch.zeros(1, requires_grad=True)
    smooth_l1_loss(x, torch.zeros(1), 0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.item() == 0.0


@pytest.mark.parametrize(
    ("box", "loss"),
    [
        ((0, 0, 10, 10), 0.0),
        # Half inside: IoU .5, hull = union.
        ((0, 0, 10, 5), 0.5),
        # IoU 25/175, hull 15 x 15 = 225, union 175.
        ((5, 5, 15, 15), 1 - 25 / 175 + 50 / 225),
        # Apart: hull 30 x 10 = 300, union 200.
        ((20, 0, 30, 10), 1 + 100 / 300),
    ],
)
def test_giou_of_hand_cases(box: tuple[int, ...], loss: float) -> None:
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    found = giou_loss(torch.tensor([box], dtype=torch.float32), target)
    assert found.item() == pytest.approx(loss, abs=1e-6)


def test_giou_pulls_boxes_that_are_apart() -> None:
    box = torch.tensor([[20.0, 0.0, 30.0, 10.0]], requires_grad=True)
    giou_loss(box, torch.tensor([[0.0, 0.0, 10.0, 10.0]])).sum().backward()  # type: ignore[no-untyped-call]
    assert box.grad is not None
    # Descent moves the near side left: d(2 - union / hull) / dx1 = 10 / 300.
    assert box.grad[0, 0].item() == pytest.approx(10 / 300)


@pytest.mark.parametrize("name", ["smooth_l1", "l1", "giou"])
def test_box_loss_of_the_exact_deltas_is_zero(name: str) -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[5.0, 0.0, 15.0, 20.0]])
    deltas = torch.tensor([[0.5, 0.5, 0.0, math.log(2.0)]])
    found: Tensor = BOX_LOSSES[name](deltas, anchors, boxes, 1.0)
    assert found.tolist() == pytest.approx([0.0], abs=1e-5)


def test_l1_is_not_smoothed() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    deltas = torch.tensor([[0.5, 0.25, 0.0, 0.0]])
    assert BOX_LOSSES["l1"](deltas, anchors, anchors, 1.0).item() == pytest.approx(0.75)
    assert BOX_LOSSES["smooth_l1"](deltas, anchors, anchors, 1.0).item() == pytest.approx(0.15625)


@pytest.mark.parametrize("name", ["smooth_l1", "l1", "giou"])
def test_box_loss_without_positive_anchors_is_empty(name: str) -> None:
    none = torch.zeros(0, 4)
    assert BOX_LOSSES[name](none, none, none, 1.0).shape == (0,)
