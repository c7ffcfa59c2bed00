"""The two subnets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.heads import Subnet


def test_outputs_are_anchor_major_then_class() -> None:
    head = Subnet(width=1, depth=0, anchors=2, per_anchor=3)
    nn.init.zeros_(head.output.weight)
    head.output.bias = nn.Parameter(torch.arange(6.0))
    rows = head(torch.zeros(1, 1, 1, 1))
    assert rows.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_locations_run_along_x_first() -> None:
    head = Subnet(width=1, depth=0, anchors=1, per_anchor=1)
    nn.init.zeros_(head.output.weight)
    head.output.weight.data[0, 0, 1, 1] = 1.0
    level = torch.tensor([[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]])
    assert head(level).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_subnet_weights_start_with_sigma_one_hundredth() -> None:
    head = Subnet(width=64, depth=4, anchors=9, per_anchor=20)
    assert head.output.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_group_norm_stands_between_a_convolution_without_bias_and_its_relu() -> None:
    head = Subnet(width=64, depth=2, anchors=9, per_anchor=4, norm="group")
    layers = list(head.tower)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.GroupNorm, nn.ReLU] * 2
    assert layers[0].bias is None
    assert layers[1].num_groups == 32
    assert head.output.bias is not None
    assert layers[0].weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_without_norm_each_convolution_has_a_bias() -> None:
    head = Subnet(width=8, depth=2, anchors=9, per_anchor=4)
    assert [type(layer) for layer in head.tower] == [nn.Conv2d, nn.ReLU] * 2
    assert all(layer.bias is not None for layer in list(head.tower)[::2])


def test_group_norm_takes_each_image_and_pair_of_channels_by_itself() -> None:
    head = Subnet(width=64, depth=1, anchors=1, per_anchor=1, norm="group")
    convolution, norm, _ = head.tower
    x = convolution(torch.randn(2, 64, 3, 3))
    pairs = x.reshape(2, 32, -1)
    by_hand = (pairs - pairs.mean(-1, keepdim=True)) / torch.sqrt(
        pairs.var(-1, correction=0, keepdim=True) + 1e-5
    )
    # Another order of the sums.
    assert torch.allclose(norm(x), by_hand.reshape(x.shape), atol=1e-4)
