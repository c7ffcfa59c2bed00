"""ResNet (He et al., 2016) and ResNeXt (Xie et al., 2017) with torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn

from model.backbones.norm import FrozenBatchNorm2d


class ResNet(nn.Module):
    """C3, C4 and C5 (strides 8, 16, 32) of an image.

    `blocks`: residual blocks in each of the four stages. `bottleneck`: 1x1, 3x3, 1x1 blocks instead
    of two 3x3. `groups` and `group_width`: ResNeXt's cardinality and base width (32x4d: 32 and 4).
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        bottleneck: bool,
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        super().__init__()
        block = _Bottleneck if bottleneck else _BasicBlock
        expansion = 4 if bottleneck else 1
        self.channels = (128 * expansion, 256 * expansion, 512 * expansion)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = FrozenBatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inner = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers: list[nn.Module] = []
            for index in range(count):
                stride = 2 if index == 0 and stage > 0 else 1
                hidden = width * group_width // 64 * groups
                layers.append(block(inner, hidden, width * expansion, stride, groups))
                inner = width * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, C, H/s, W/s] for s in 8, 16, 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        taps = []
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(stage)(x)
            taps.append(x)
        return taps[1:]


class _BasicBlock(nn.Module):
    def __init__(self, inner: int, hidden: int, outer: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, hidden, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = FrozenBatchNorm2d(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(hidden, outer, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = FrozenBatchNorm2d(outer)
        self.downsample = _projection(inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    """The stride sits on the 3x3 convolution, as in torchvision's weights (ResNet v1.5)."""

    def __init__(self, inner: int, hidden: int, outer: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, hidden, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = FrozenBatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, outer, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)  # type: ignore[no-any-return]


def _projection(inner: int, outer: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inner == outer:
        return None
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), FrozenBatchNorm2d(outer))
