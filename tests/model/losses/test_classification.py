"""The class losses against the paper's closed forms, their derivatives and hand values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.losses.classification import (
    ClassLoss,
    HardLabelLoss,
    QualityFocalLoss,
    cross_entropy,
    focal,
    focal_star,
    hinge,
    quality_focal,
)
from model.losses.rule import LossRule

GAMMAS = (0.0, 0.1, 0.5, 1.0, 2.0, 3.7, 5.0)
X_T = torch.linspace(-12, 12, 97)


def logit(p: float) -> Tensor:
    return torch.tensor(math.log(p / (1 - p)))


@pytest.mark.parametrize(
    ("p_t", "gamma", "loss"),
    [
        # -(1 - p_t)^gamma log p_t, by hand.
        (0.5, 0.0, 0.693147),
        (0.5, 2.0, 0.25 * 0.693147),
        (0.9, 2.0, 0.01 * 0.105361),
        (0.1, 2.0, 0.81 * 2.302585),
        (0.01, 0.5, 0.994987 * 4.605170),
        (0.25, 5.0, 0.237305 * 1.386294),
    ],
)
def test_focal_loss_of_hand_cases(p_t: float, gamma: float, loss: float) -> None:
    assert focal(logit(p_t), gamma).loss.item() == pytest.approx(loss, rel=1e-5)


def test_well_classified_example_costs_a_hundredth_and_a_thousandth() -> None:
    # Paper, sec. 3.2: p_t .9 and about .968 at gamma 2, compared with the cross entropy.
    for p_t, times in ((0.9, 100), (0.968, 1000)):
        x_t = logit(p_t)
        assert (cross_entropy(x_t).loss / focal(x_t, 2.0).loss).item() == pytest.approx(
            times, rel=0.03
        )


@pytest.mark.parametrize(
    ("x_t", "gamma", "shift", "loss"),
    [
        # -log(sigmoid(gamma x_t + shift)) / gamma, by hand: log(1 + e^-1) = .313262.
        (0.0, 2.0, 1.0, 0.313262 / 2),
        (0.5, 2.0, 0.0, 0.313262 / 2),
        (-0.25, 4.0, 0.0, 1.313262 / 4),
        (0.0, 1.0, 0.0, 0.693147),
    ],
)
def test_focal_star_of_hand_cases(x_t: float, gamma: float, shift: float, loss: float) -> None:
    assert focal_star(torch.tensor(x_t), gamma, shift).loss.item() == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("p_t", "margin", "loss", "slope"),
    [
        (0.25, 0.5, 0.25, -0.1875),
        (0.6, 0.5, 0.0, 0.0),
        (0.6, 0.9, 0.3, -0.24),
        (0.95, 0.9, 0.0, 0.0),
    ],
)
def test_hinge_falls_to_zero_at_the_margin(
    p_t: float, margin: float, loss: float, slope: float
) -> None:
    found = hinge(logit(p_t), margin)
    assert found.loss.item() == pytest.approx(loss, abs=1e-6)
    assert found.slope.item() == pytest.approx(slope, abs=1e-6)


def test_cross_entropy_slope_is_equation_9() -> None:
    p_t = torch.sigmoid(X_T.double())
    assert torch.allclose(cross_entropy(X_T).slope.double(), p_t - 1, rtol=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_slope_is_equation_10(gamma: float) -> None:
    p_t = torch.sigmoid(X_T.double())
    expected = (1 - p_t) ** gamma * (gamma * p_t * p_t.log() + p_t - 1)
    assert torch.allclose(focal(X_T, gamma).slope.double(), expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize(("gamma", "shift"), [(2.0, 1.0), (4.0, 0.0), (0.3, -2.0)])
def test_focal_star_slope_is_equation_11(gamma: float, shift: float) -> None:
    p_star = torch.sigmoid(gamma * X_T.double() + shift)
    found = focal_star(X_T, gamma, shift).slope.double()
    assert torch.allclose(found, p_star - 1, rtol=1e-4, atol=1e-12)


FORMULAE: dict[
    str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], tuple[Tensor, Tensor]]]
] = {
    "cross_entropy": (lambda p: -p.log(), cross_entropy),
    "focal": (lambda p: -((1 - p) ** 1.5) * p.log(), lambda x: focal(x, 1.5)),
    "focal_star": (
        lambda p: -torch.sigmoid(3 * torch.logit(p) - 1).log() / 3,
        lambda x: focal_star(x, 3.0, -1.0),
    ),
    "hinge": (lambda p: (0.7 - p).clamp(min=0), lambda x: hinge(x, 0.7)),
}


@pytest.mark.parametrize("name", FORMULAE)
def test_loss_and_slope_agree_with_autograd_through_probabilities(name: str) -> None:
    formula, loss_of = FORMULAE[name]
    x_t = X_T.double().requires_grad_()
    expected = formula(torch.sigmoid(x_t))
    expected.sum().backward()  # type: ignore[no-untyped-call]
    loss, slope = loss_of(X_T)
    assert x_t.grad is not None
    assert torch.allclose(loss.double(), expected.detach(), rtol=1e-4, atol=1e-7)
    assert torch.allclose(slope.double(), x_t.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("quality", [0.0, 0.3, 0.75, 1.0])
def test_quality_focal_agrees_with_autograd_through_probabilities(
    gamma: float, quality: float
) -> None:
    x = X_T.double().requires_grad_()
    p = torch.sigmoid(x)
    entropy = -(quality * p.log() + (1 - quality) * (1 - p).log())
    expected = (quality - p).abs() ** gamma * entropy
    expected.sum().backward()  # type: ignore[no-untyped-call]
    found = quality_focal(X_T, torch.full_like(X_T, quality), gamma)
    assert x.grad is not None
    assert torch.allclose(found.loss.double(), expected.detach(), rtol=1e-3, atol=1e-6)
    assert torch.allclose(found.slope.double(), x.grad, rtol=1e-3, atol=1e-6)


def test_quality_focal_is_zero_in_slope_where_the_score_is_the_quality() -> None:
    found = quality_focal(logit(0.75), torch.tensor(0.75), 2.0)
    assert found.loss.item() == pytest.approx(0.0, abs=1e-12)
    assert found.slope.item() == pytest.approx(0.0, abs=1e-6)


def test_quality_focal_background_is_its_case_of_quality_zero() -> None:
    loss = QualityFocalLoss(2.0)
    swept, spelled_out = loss.background(X_T), loss.labelled(X_T, torch.zeros_like(X_T))
    assert torch.allclose(swept.loss, spelled_out.loss, rtol=1e-3, atol=1e-12)
    assert torch.allclose(swept.slope, spelled_out.slope, rtol=1e-3, atol=1e-12)
    # sigma^2 log(1 + e^x) at x = 0, weight 1: no alpha.
    assert loss.background(torch.zeros(1)).loss.item() == pytest.approx(0.25 * 0.693147)


@pytest.mark.parametrize(
    ("alpha", "positive", "negative"), [(0.25, 0.25, 0.75), (0.75, 0.75, 0.25), (-1.0, 1.0, 1.0)]
)
def test_alpha_weighs_the_two_kinds_of_targets(
    alpha: float, positive: float, negative: float
) -> None:
    loss = HardLabelLoss(cross_entropy, alpha)
    zero = torch.zeros(2)
    found = loss.labelled(zero, torch.tensor([1.0, 0.0]))
    assert found.loss.tolist() == pytest.approx([positive * 0.693147, negative * 0.693147])
    assert found.slope.tolist() == pytest.approx([positive * -0.5, negative * 0.5])
    background = loss.background(zero[:1])
    assert background.loss.item() == pytest.approx(negative * 0.693147)
    assert background.slope.item() == pytest.approx(negative * 0.5)


EXTREME = [-110.0, -95.0, -88.0, -50.0, -17.5, -1e-3, 0.0, 17.5, 50.0, 88.0, 95.0, 110.0]


def losses_with(gamma: float) -> list[ClassLoss]:
    rules = [
        LossRule(classes="cross_entropy"),
        LossRule(classes="balanced_cross_entropy", alpha=0.75),
        LossRule(gamma=gamma),
        LossRule(alpha=-1.0, gamma=gamma),
        LossRule(classes="hinge"),
        LossRule(classes="quality_focal", gamma=gamma),
    ]
    if gamma > 0:
        rules += [LossRule(classes="focal_star", gamma=gamma, shift=s) for s in (-10.0, 0.0, 10.0)]
    return [rule.class_loss() for rule in rules]


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (torch.float32, EXTREME),
        (torch.float32, [-1e4, 1e4]),
        (torch.float16, EXTREME),
        (torch.bfloat16, EXTREME),
    ],
)
def test_losses_and_slopes_are_finite_float32_for_extreme_logits(
    dtype: torch.dtype, values: list[float], gamma: float
) -> None:
    x = torch.tensor(values, dtype=dtype)
    for loss in losses_with(gamma):
        targets = (0.0, 0.5, 1.0) if isinstance(loss, QualityFocalLoss) else (0.0, 1.0)
        labelled = [loss.labelled(x, torch.full((len(x),), target)) for target in targets]
        for found in (loss.background(x), *labelled):
            for tensor in found:
                assert tensor.dtype == torch.float32
                assert tensor.isfinite().all(), (loss, found)


def test_badly_wrong_logit_costs_its_distance_and_pulls_with_full_slope() -> None:
    found = focal(torch.tensor(-110.0), 2.0)
    assert found.loss.item() == pytest.approx(110.0)
    assert found.slope.item() == pytest.approx(-1.0)


def test_confident_and_right_costs_nothing() -> None:
    assert focal(torch.tensor(110.0), 0.5).loss.item() == 0.0
