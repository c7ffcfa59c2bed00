"""MobileNetV2 (Sandler et al., 2018) as a feature extractor, with torchvision's parameter names."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from model.backbones.norm import NormLayer, conv_then_norm
from model.backbones.stages import Backbone


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
_ENDS = (2, 4, 7, 14, 18)
"""Where in `features` the blocks with strides 2, 4, 8, 16 and 32 end."""


class MobileNetV2(Backbone):
    """C3, C4 and C5 (strides 8, 16, 32) of an image.

    The classifier's last convolution (`features.18`) is left out: it widens C5 to 1280 channels,
    which the pyramid would narrow again.
    """

    channels = (32, 96, 320)

    def __init__(self, norm: NormLayer) -> None:
        super().__init__()
        features: list[nn.Module] = [_conv(norm, 3, 32, kernel=3, stride=2)]
        inner = 32
        for stage in _STAGES:
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                features.append(
                    _InvertedResidual(norm, inner, stage.channels, stride, stage.expansion)
                )
                inner = stage.channels
        self.features = nn.Sequential(*features)

    def stages(self) -> list[nn.Module]:
        """The blocks of each stride; the stem's first."""
        starts = (0, *_ENDS[:-1])
        return [self.features[start:end] for start, end in zip(starts, _ENDS, strict=True)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, C, H/s, W/s] for s in 8, 16, 32."""
        taps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index + 1 in _ENDS[2:]:
                taps.append(x)
        return taps


class _InvertedResidual(nn.Module):
    def __init__(
        self, norm: NormLayer, inner: int, outer: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = inner * expansion
        layers: list[nn.Module] = [_conv(norm, inner, hidden, kernel=1)] if expansion != 1 else []
        layers += [
            _conv(norm, hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outer, 1, bias=False),
            norm(outer),
        ]
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        *convolutions, last, norm = self.conv
        y = x
        for convolution in convolutions:
            y = convolution(y)
        y = conv_then_norm(y, last, norm)
        return x + y if self.has_shortcut else y


class _Convolution(nn.Sequential):
    """A convolution, its norm and ReLU6."""

    def forward(self, x: Tensor) -> Tensor:
        conv, norm, relu = self
        y: Tensor = relu(conv_then_norm(x, conv, norm))
        return y


def _conv(
    norm: NormLayer, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return _Convolution(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False),
        norm(outer),
        nn.ReLU6(),  # in place it would keep a copy of its input for the backward pass
    )
