"""The classification and box regression subnets, shared by all levels."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

WEIGHT_SIGMA = 0.01

HeadNorm = Literal["none", "group"]

NORM_GROUPS = 32
"""How many groups a group norm has: Wu and He, Group Normalization, and torchvision."""


class Subnet(nn.Module):
    """`depth` 3x3 convolutions of `width` with ReLU, then one 3x3 to A * `per_anchor` channels.

    Source: Focal Loss paper, sec. 4, 'Classification Subnet' and 'Box Regression Subnet'; sec. 4.1,
    'Initialization': weights of sigma .01, biases 0 but for the class prior. `group` norm, between
    each of the `depth` convolutions, which then have no bias, and its ReLU: torchvision's
    `retinanet_resnet50_fpn_v2`.
    """

    def __init__(
        self, width: int, depth: int, anchors: int, per_anchor: int, norm: HeadNorm = "none"
    ) -> None:
        super().__init__()
        tower: list[nn.Module] = []
        for _ in range(depth):
            tower.append(nn.Conv2d(width, width, 3, padding=1, bias=norm == "none"))
            if norm == "group":
                tower.append(nn.GroupNorm(NORM_GROUPS, width))
            tower.append(nn.ReLU(inplace=True))
        self.tower = nn.Sequential(*tower)
        self.output = nn.Conv2d(width, anchors * per_anchor, 3, padding=1)
        self.per_anchor = per_anchor
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=WEIGHT_SIGMA)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, level: Tensor) -> Tensor:
        """One level [B, width, H, W] -> [B, H * W * A, per_anchor], in the anchors' order."""
        y: Tensor = self.output(self.tower(level))
        rows = y.permute(0, 2, 3, 1).flatten(1)
        return rows.unflatten(1, (-1, self.per_anchor))  # type: ignore[no-any-return, no-untyped-call]


def set_class_prior(head: Subnet, prior: float) -> None:
    """Makes every anchor start as foreground with probability `prior` (paper, sec. 4.1: .01)."""
    nn.init.constant_(head.output.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]
