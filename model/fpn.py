"""The feature pyramid P3..P7."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

P6From = Literal["c5", "p5"]


class FeaturePyramid(nn.Module):
    """P3..P7 from C3..C5, each with `width` channels.

    P3..P5: lateral 1x1, top-down x2 nearest upsampling, 3x3 smoothing. P6 is a 3x3 stride-2
    convolution on C5 (torchvision's v1: on P5); P7 the same on ReLU(P6).
    Source: Focal Loss paper, sec. 4, footnote 2; Lin et al., Feature Pyramid Networks.
    Xavier initialisation as in that paper's code; the paper's sigma of .01 is for the subnets.
    """

    def __init__(
        self, channels: tuple[int, int, int], width: int = 256, p6_from: P6From = "c5"
    ) -> None:
        super().__init__()
        self.p6_from = p6_from
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        self.p6 = nn.Conv2d(
            channels[-1] if p6_from == "c5" else width, width, 3, stride=2, padding=1
        )
        self.p7 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """C3, C4, C5 [B, C, H/s, W/s] -> P3..P7 [B, width, ceil(H/s), ceil(W/s)]."""
        merged = [lateral(c) for lateral, c in zip(self.lateral, features, strict=True)]
        for finer in (1, 0):
            merged[finer] = merged[finer] + F.interpolate(merged[finer + 1], scale_factor=2.0)
        levels = [smooth(m) for smooth, m in zip(self.smooth, merged, strict=True)]
        p6 = self.p6(features[-1] if self.p6_from == "c5" else levels[-1])
        return [*levels, p6, self.p7(F.relu(p6))]
