"""The losses against the paper's closed forms and hand values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.errors import InputError
from model.losses import BOX_LOSSES, LossRule, giou_loss, sigmoid_focal_loss, smooth_l1_loss

NO_BALANCE = -1.0


def focal(logit: float, target: int, alpha: float, gamma: float) -> float:
    return sigmoid_focal_loss(
        torch.tensor([logit]), torch.tensor([float(target)]), alpha, gamma
    ).item()


@pytest.mark.parametrize(
    ("p", "target", "alpha", "gamma", "loss"),
    [
        # -alpha_t (1 - p_t)^gamma log p_t, by hand.
        (0.5, 1, 0.25, 2.0, 0.25 * 0.25 * 0.693147),
        (0.5, 0, 0.25, 2.0, 0.75 * 0.25 * 0.693147),
        (0.9, 1, NO_BALANCE, 2.0, 0.01 * 0.105361),
        (0.9, 0, NO_BALANCE, 2.0, 0.81 * 2.302585),
        (0.01, 1, 0.25, 2.0, 0.25 * 0.9801 * 4.605170),
        (0.01, 0, 0.25, 2.0, 0.75 * 0.0001 * 0.01005034),
        (0.9, 1, 0.75, 0.0, 0.75 * 0.105361),
    ],
)
def test_focal_loss_of_hand_cases(
    p: float, target: int, alpha: float, gamma: float, loss: float
) -> None:
    assert focal(math.log(p / (1 - p)), target, alpha, gamma) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradient_is_that_of_equation_10(gamma: float, target: float) -> None:
    x = torch.linspace(-12, 12, 97, requires_grad=True)
    sigmoid_focal_loss(x, torch.full_like(x, target), NO_BALANCE, gamma).sum().backward()  # type: ignore[no-untyped-call]
    y = 2 * target - 1
    p_t = torch.sigmoid(y * x.detach().double())
    expected = y * (1 - p_t) ** gamma * (gamma * p_t * p_t.log() + p_t - 1)
    assert x.grad is not None
    assert torch.allclose(x.grad.double(), expected, rtol=1e-3, atol=1e-7)


def test_gamma_zero_has_the_gradient_of_cross_entropy_equation_9() -> None:
    x = torch.tensor([-3.0, 0.0, 2.0], requires_grad=True)
    sigmoid_focal_loss(x, torch.ones(3), NO_BALANCE, 0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    # p - 1
    assert x.grad.tolist() == pytest.approx([-0.952574, -0.5, -0.119203], abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_loss_and_gradient_are_finite_for_extreme_logits(dtype: torch.dtype, gamma: float) -> None:
    values = [-110.0, -95.0, -88.0, -50.0, -17.5, 0.0, 17.5, 50.0, 88.0, 95.0, 110.0]
    x = torch.tensor(values * 2, dtype=dtype, requires_grad=True)
    targets = torch.tensor([0.0] * len(values) + [1.0] * len(values))
    loss = sigmoid_focal_loss(x, targets, 0.25, gamma)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_badly_wrong_logit_costs_its_distance() -> None:
    assert focal(-110.0, 1, NO_BALANCE, 2.0) == pytest.approx(110.0)


def test_confident_and_right_costs_nothing() -> None:
    assert focal(110.0, 1, 0.25, 2.0) == 0.0


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
    assert found.item() == pytest.approx(0.0, abs=1e-5)


def test_l1_is_not_smoothed() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    deltas = torch.tensor([[0.5, 0.0, 0.0, 0.0]])
    assert BOX_LOSSES["l1"](deltas, anchors, anchors, 1.0).item() == pytest.approx(0.5)
    assert BOX_LOSSES["smooth_l1"](deltas, anchors, anchors, 1.0).item() == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": "iou"}, "box loss 'iou': accepted are smooth_l1, l1, giou"),
        ({"gamma": -1.0}, "gamma -1.0: accepted are 0.0 to 5.0"),
        ({"gamma": math.nan}, "gamma nan"),
        ({"beta": -0.1}, "beta -0.1"),
        ({"box_weight": -1.0}, "box_weight -1.0"),
    ],
)
def test_bad_rule_names_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LossRule(**change)  # type: ignore[arg-type]
