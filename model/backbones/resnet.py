"""ResNet (He et al., 2016) and ResNeXt (Xie et al., 2017) with torchvision's parameter names."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from model.backbones.norm import NormLayer, conv_then_norm
from model.backbones.stages import Backbone


class ResNet(Backbone):
    """C3, C4 and C5 (strides 8, 16, 32) of an image.

    `blocks`: residual blocks in each of the four stages. `bottleneck`: 1x1, 3x3, 1x1 blocks instead
    of two 3x3. `groups` and `group_width`: ResNeXt's cardinality and base width (32x4d: 32 and 4).
    `stride_in_1x1`: bottlenecks halve the resolution in their first convolution, as in the original
    (MSRA's and Detectron's weights), instead of in the 3x3 (torchvision's, ResNet v1.5).
    """

    def __init__(
        self,
        norm: NormLayer,
        blocks: tuple[int, int, int, int],
        bottleneck: bool,
        groups: int = 1,
        group_width: int = 64,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        block = partial(_Bottleneck, stride_in_1x1=stride_in_1x1) if bottleneck else _BasicBlock
        expansion = 4 if bottleneck else 1
        self.channels = (128 * expansion, 256 * expansion, 512 * expansion)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inner = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers: list[nn.Module] = []
            for index in range(count):
                stride = 2 if index == 0 and stage > 0 else 1
                hidden = width * group_width // 64 * groups
                layers.append(block(norm, inner, hidden, width * expansion, stride, groups))
                inner = width * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def stages(self) -> list[nn.Module]:
        """The stem and `layer1` to `layer4`."""
        layers = [self.get_submodule(f"layer{number}") for number in (1, 2, 3, 4)]
        return [nn.Sequential(self.conv1, self.bn1), *layers]

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, C, H/s, W/s] for s in 8, 16, 32."""
        x = self.maxpool(self.relu(conv_then_norm(x, self.conv1, self.bn1)))
        taps = []
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(stage)(x)
            taps.append(x)
        return taps[1:]


class _BasicBlock(nn.Module):
    def __init__(
        self, norm: NormLayer, inner: int, hidden: int, outer: int, stride: int, groups: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, hidden, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = norm(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(hidden, outer, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = norm(outer)
        self.downsample = _projection(norm, inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(conv_then_norm(x, self.conv1, self.bn1))
        y = conv_then_norm(y, self.conv2, self.bn2)
        shortcut = x if self.downsample is None else conv_then_norm(x, *self.downsample)
        return self.relu(y + shortcut)  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    def __init__(
        self,
        norm: NormLayer,
        inner: int,
        hidden: int,
        outer: int,
        stride: int,
        groups: int,
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(inner, hidden, 1, first, bias=False)
        self.bn1 = norm(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, second, 1, groups=groups, bias=False)
        self.bn2 = norm(hidden)
        self.conv3 = nn.Conv2d(hidden, outer, 1, bias=False)
        self.bn3 = norm(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(norm, inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(conv_then_norm(x, self.conv1, self.bn1))
        y = self.relu(conv_then_norm(y, self.conv2, self.bn2))
        y = conv_then_norm(y, self.conv3, self.bn3)
        shortcut = x if self.downsample is None else conv_then_norm(x, *self.downsample)
        return self.relu(y + shortcut)  # type: ignore[no-any-return]


def _projection(norm: NormLayer, inner: int, outer: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inner == outer:
        return None
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), norm(outer))
