"""Batch norm of backbones: constant, of the batch, of all processes' batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.backbones import norm
from model.backbones.norm import (
    BackboneNorm,
    FrozenBatchNorm2d,
    check_norm,
    conv_then_norm,
    norm_layer,
)
from model.backbones.registry import build_backbone
from model.errors import InputError


@pytest.fixture
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm, "world_size", lambda: 2)


def test_frozen_norm_is_the_affine_of_its_statistics() -> None:
    norm = FrozenBatchNorm2d(1)
    norm.load_state_dict(
        {
            "weight": torch.tensor([3.0]),
            "bias": torch.tensor([0.5]),
            "running_mean": torch.tensor([2.0]),
            "running_var": torch.tensor([4.0]),
        }
    )
    # By hand: 8 less the mean is 6, over the deviation 2 is 3, times 3 plus .5.
    assert norm(torch.full((1, 1, 1, 1), 8.0)).item() == pytest.approx(9.5, abs=1e-4)


def test_frozen_norm_never_changes_in_training() -> None:
    norm = FrozenBatchNorm2d(2).train()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(torch.randn(4, 2, 3, 3) * 10 + 5)
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())
    assert not list(norm.parameters())


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 6)])
def test_frozen_norm_in_the_convolution_gives_what_it_gives_behind_it(
    stride: int, groups: int
) -> None:
    conv = nn.Conv2d(6, 12, 3, stride, padding=1, groups=groups, bias=False)
    norm = FrozenBatchNorm2d(12)
    for statistic in norm.buffers():
        statistic.uniform_(0.5, 2.0)
    x = torch.randn(2, 6, 9, 9, requires_grad=True)
    apart, joined = norm(conv(x)), conv_then_norm(x, conv, norm)
    assert torch.allclose(joined, apart, atol=1e-5)
    upstream = torch.randn_like(apart)
    expected = torch.autograd.grad(apart, (x, conv.weight), upstream)
    found = torch.autograd.grad(joined, (x, conv.weight), upstream)
    for gradient, other in zip(found, expected, strict=True):
        assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-5)


def test_trained_norm_stays_behind_its_convolution() -> None:
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
    y = conv_then_norm(torch.randn(8, 3, 5, 5) + 3, conv, norm)
    # The batch's own statistics: nothing of the shift by 3 is left.
    assert y.mean().item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["frozen", "trained", "sync"])
def test_eps_is_what_the_norm_adds_to_the_variance(kind: BackboneNorm) -> None:
    layer = norm_layer(kind, 3.0)(1).eval()
    # The statistics are 0 and 1 until they are loaded: 8 over the root of 1 + 3.
    assert layer(torch.full((1, 1, 1, 1), 8.0)).item() == pytest.approx(4.0)


def test_frozen_norm_takes_an_eps_of_0() -> None:
    layer = norm_layer("frozen", 0.0)(1)
    assert layer(torch.full((1, 1, 1, 1), 8.0)).item() == 8.0


def test_trained_norm_has_the_keys_of_frozen_norm_and_its_counter() -> None:
    with torch.device("meta"):
        frozen, trained = (set(build_backbone("resnet18", kind).state_dict()) for kind in KINDS)
    assert {key.rpartition(".")[2] for key in trained - frozen} == {"num_batches_tracked"}
    assert not frozen - trained


KINDS: tuple[BackboneNorm, BackboneNorm] = ("frozen", "trained")


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_statistics_of_trained_norm_alone(kind: BackboneNorm) -> None:
    backbone = build_backbone("mobilenet_v2", kind).train()
    before = backbone.features[0][1].running_mean.clone()  # type: ignore[union-attr,index]
    with torch.no_grad():
        backbone(torch.randn(2, 3, 32, 32) + 5)
    moved = not torch.equal(before, backbone.features[0][1].running_mean)  # type: ignore[union-attr,index]
    assert moved == (kind == "trained")


def test_sync_norm_alone_is_that_of_the_batch() -> None:
    assert type(norm_layer("sync", 1e-5)(2)) is nn.BatchNorm2d
    check_norm("sync", "cpu")


@pytest.mark.usefixtures("_two_processes")
def test_sync_norm_is_torchs_where_several_processes_train() -> None:
    assert type(norm_layer("sync", 1e-5)(2)) is nn.SyncBatchNorm
    assert type(norm_layer("trained", 1e-5)(2)) is nn.BatchNorm2d
    assert type(norm_layer("frozen", 1e-5)(2)) is FrozenBatchNorm2d
    check_norm("sync", "cuda:0")


@pytest.mark.usefixtures("_two_processes")
def test_sync_norm_of_several_processes_on_the_cpu_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match=r"norm 'sync' of 2 processes on the CPU.* accepted here"):
        check_norm("sync", "cpu")
    check_norm("trained", "cpu")
