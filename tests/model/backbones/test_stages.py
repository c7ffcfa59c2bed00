"""Stages that keep their weights and statistics."""

from __future__ import annotations

import pytest
import torch

from model.backbones.registry import build_backbone
from model.backbones.stages import Backbone, freeze_stages
from model.errors import InputError

# What stage a parameter belongs to, by the beginning of its name.
RESNET = ("conv1. bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
MOBILENET_BLOCKS = (range(2), range(2, 4), range(4, 7), range(7, 14), range(14, 18))
MOBILENET = tuple(" ".join(f"features.{n}." for n in blocks) for blocks in MOBILENET_BLOCKS)


def frozen_names(backbone: Backbone) -> set[str]:
    return {name for name, value in backbone.named_parameters() if not value.requires_grad}


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize(("name", "stages"), [("resnet18", RESNET), ("mobilenet_v2", MOBILENET)])
def test_the_first_stages_lose_their_gradient(
    name: str, stages: tuple[str, ...], count: int
) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, "trained")
    freeze_stages(backbone, count)
    beginnings = tuple(" ".join(stages[:count]).split())
    assert frozen_names(backbone) == {
        key for key, _ in backbone.named_parameters() if key.startswith(beginnings)
    }
    assert (len(frozen_names(backbone)) > 0) == (count > 0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_each_stage_halves_the_resolution(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
        x = torch.zeros(1, 3, 64, 64)
        sides = []
        for stage in backbone.stages():
            x = stage(x)
            if name == "resnet18" and not sides:
                sides.append(x.shape[-1])
                x = x[..., ::2, ::2]  # the pooling, which has no weights
                continue
            sides.append(x.shape[-1])
    assert sides == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_trained_norm_of_frozen_stages_never_moves_whatever_trains(name: str) -> None:
    backbone = build_backbone(name, "trained")
    freeze_stages(backbone, 2)
    parent = torch.nn.Sequential(backbone).eval()
    parent.train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.no_grad():
        parent(torch.randn(2, 3, 64, 64) + 1)
    moved = {key for key, value in backbone.state_dict().items() if not value.equal(before[key])}
    frozen = tuple(name.rpartition(".")[0] for name in frozen_names(backbone))
    assert frozen
    assert moved
    assert not [key for key in moved if key.startswith(frozen)]


def test_frozen_stages_may_be_given_back() -> None:
    backbone = build_backbone("resnet18", "trained")
    freeze_stages(backbone, 5)
    freeze_stages(backbone, 0)
    assert not frozen_names(backbone)
    assert all(module.training for module in backbone.modules())


@pytest.mark.parametrize("count", [-1, 6])
def test_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"frozen_stages {count}: accepted are 0 to 5"):
        freeze_stages(build_backbone("mobilenet_v2"), count)
