"""The feature pyramid."""

from __future__ import annotations

import torch
from torch import nn

from model.fpn import FeaturePyramid, P6From

SHAPES = ((32, 8), (96, 4), (320, 2))
"""Channels and side of C3, C4 and C5."""


def pyramid(p6_from: P6From = "c5") -> FeaturePyramid:
    return FeaturePyramid((32, 96, 320), 16, p6_from)


def test_p7_sees_p6_through_a_relu() -> None:
    fpn = pyramid()
    nn.init.zeros_(fpn.p6.weight)
    nn.init.constant_(fpn.p6.bias, -1.0)  # type: ignore[arg-type]
    levels = fpn([torch.zeros(1, c, s, s) for c, s in SHAPES])
    assert levels[3].eq(-1).all()
    assert levels[4].eq(0).all()


def features() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(1, channels, side, side) for channels, side in SHAPES]


def test_p6_is_a_convolution_of_c5() -> None:
    fpn = pyramid()
    levels = fpn(features())
    assert torch.equal(levels[3], fpn.p6(features()[2]))


def test_p6_is_a_convolution_of_p5_as_in_torchvisions_v1() -> None:
    fpn = pyramid("p5")
    levels = fpn(features())
    assert torch.equal(levels[3], fpn.p6(levels[2]))


def test_every_convolution_has_a_bias_wherever_p6_comes_from() -> None:
    for p6_from in ("c5", "p5"):
        convolutions = [m for m in pyramid(p6_from).modules() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 8
        assert all(convolution.bias is not None for convolution in convolutions)
