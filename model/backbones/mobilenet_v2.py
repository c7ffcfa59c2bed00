"""MobileNetV2 (Sandler et al., 2018) as a feature extractor, with torchvision's parameter names."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from model.backbones.norm import FrozenBatchNorm2d


class _Stage(NamedTuple):
    expansion: int
    channels: int
    blocks: int
    stride: int


_STAGES = (
    _Stage(1, 16, 1, 1),
    _Stage(6, 24, 2, 2),
    _Stage(6, 32, 3, 2),
    _Stage(6, 64, 4, 2),
    _Stage(6, 96, 3, 1),
    _Stage(6, 160, 3, 2),
    _Stage(6, 320, 1, 1),
)
_TAPS = (6, 13, 17)
"""Indices into `features` of the last blocks with strides 8, 16 and 32."""


class MobileNetV2(nn.Module):
    """C3, C4 and C5 (strides 8, 16, 32) of an image.

    The classifier's last convolution (`features.18`) is left out: it widens C5 to 1280 channels,
    which the pyramid would narrow again.
    """

    channels = (32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = [_conv(3, 32, kernel=3, stride=2)]
        inner = 32
        for stage in _STAGES:
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                features.append(_InvertedResidual(inner, stage.channels, stride, stage.expansion))
                inner = stage.channels
        self.features = nn.Sequential(*features)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, C, H/s, W/s] for s in 8, 16, 32."""
        taps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class _InvertedResidual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inner * expansion
        layers: list[nn.Module] = [_conv(inner, hidden, kernel=1)] if expansion != 1 else []
        layers += [
            _conv(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outer, 1, bias=False),
            FrozenBatchNorm2d(outer),
        ]
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False),
        FrozenBatchNorm2d(outer),
        nn.ReLU6(inplace=True),
    )
