"""Learning rates over a run, parameter groups, the moving average."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.recipe import OptimizerSection
from model.retinanet import RetinaNet, build_retinanet
from model.training.optimizer import (
    WeightAverage,
    base_rate,
    build_optimizer,
    rate_factor,
    set_rate,
)


@pytest.fixture(scope="module")
def net() -> RetinaNet:
    return build_retinanet(2, "mobilenet_v2", head_width=8, head_depth=0)


def rule(**change: Any) -> OptimizerSection:
    return OptimizerSection(**{"warmup_steps": 0, **change})


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 1.0), (59_999, 1.0), (60_000, 0.1), (79_999, 0.1), (80_000, 0.01), (89_999, 0.01)],
)
def test_papers_schedule_cuts_by_ten_at_60k_and_80k_of_90k(step: int, factor: float) -> None:
    assert rate_factor(step, 90_000, rule()) == pytest.approx(factor)


def test_cosine_falls_from_one_towards_zero() -> None:
    cosine = rule(schedule="cosine")
    assert rate_factor(0, 100, cosine) == 1.0
    assert rate_factor(50, 100, cosine) == pytest.approx(0.5)
    assert 0 < rate_factor(99, 100, cosine) < 0.001


def test_warmup_is_linear() -> None:
    warm = rule(warmup_steps=4)
    assert [rate_factor(s, 1000, warm) for s in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )


def test_every_parameter_is_in_one_group(net: RetinaNet) -> None:
    optimizer = build_optimizer(net, rule(), 16)
    members = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in net.parameters())


def test_biases_are_not_decayed_and_the_backbone_has_its_own_rate(net: RetinaNet) -> None:
    optimizer = build_optimizer(net, rule(lr=0.1, backbone_lr_factor=0.5, weight_decay=0.01), 16)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        group = group_of[id(parameter)]
        assert group["weight_decay"] == (0.0 if name.endswith("bias") else 0.01), name
        assert group["lr"] == (0.05 if name.startswith("backbone.") else 0.1), name


def test_factor_multiplies_each_groups_own_rate(net: RetinaNet) -> None:
    optimizer = build_optimizer(net, rule(lr=0.1, backbone_lr_factor=0.5), 16)
    set_rate(optimizer, 0.1)
    set_rate(optimizer, 0.2)
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.01, 0.02}


@pytest.mark.parametrize(
    ("batch_size", "lr_for", "expected"), [(2, None, 0.01), (2, 16, 0.00125), (64, 16, 0.04)]
)
def test_rate_is_scaled_linearly_if_asked(
    batch_size: int, lr_for: int | None, expected: float
) -> None:
    assert base_rate(rule(lr=0.01, lr_for=lr_for), batch_size) == pytest.approx(expected)


def test_scaled_rate_reaches_the_optimizer(net: RetinaNet) -> None:
    optimizer = build_optimizer(net, rule(lr=0.01, lr_for=16), 2)
    assert {group["base_lr"] for group in optimizer.param_groups} == {0.00125}


def test_frozen_weights_are_left_out() -> None:
    frozen = build_retinanet(2, "mobilenet_v2", head_width=8, head_depth=0)
    frozen.fpn.requires_grad_(False)
    members = {
        p for group in build_optimizer(frozen, rule(), 16).param_groups for p in group["params"]
    }
    assert members == set(frozen.backbone.parameters()) | set(frozen.class_head.parameters()) | set(
        frozen.box_head.parameters()
    )


def test_average_copies_counters() -> None:
    trained = build_retinanet(2, "mobilenet_v2", head_width=8, head_depth=0, norm="trained")
    average = WeightAverage(trained, decay=0.9)
    (key, *_) = (key for key in average.state if key.endswith("num_batches_tracked"))
    trained.state_dict()[key].fill_(7)
    average.update(trained, 1000)
    assert average.state[key].item() == 7
    assert average.state[key].dtype == torch.int64


def test_average_moves_by_the_decay(net: RetinaNet) -> None:
    average = WeightAverage(net, decay=0.9)
    key = "fpn.p6.bias"
    with torch.no_grad():
        average.state[key].zero_()
        net.fpn.p6.bias.fill_(1.0)  # type: ignore[union-attr]
    # At step 8 the decay is 9 / 18, late in the run .9.
    average.update(net, 8)
    assert average.state[key][0].item() == pytest.approx(0.5)
    average.update(net, 1000)
    assert average.state[key][0].item() == pytest.approx(0.55)


def test_average_does_not_share_the_models_memory(net: RetinaNet) -> None:
    average = WeightAverage(net, decay=0.9)
    shared = {value.data_ptr() for value in net.state_dict().values()}
    assert not shared & {value.data_ptr() for value in average.state.values()}
