"""RetinaNet: backbone, feature pyramid, two subnets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from torch import Tensor, nn

from model.backbones.norm import BackboneNorm
from model.backbones.registry import build_backbone
from model.errors import InputError
from model.fpn import FeaturePyramid, P6From
from model.geometry import AnchorSpec
from model.heads import NORM_GROUPS, HeadNorm, Subnet, set_class_prior


@dataclass(frozen=True)
class Architecture:
    """What decides a RetinaNet's parameters and what they mean; part of each checkpoint.

    `norm` and `norm_eps`: the backbone's batch norm. `stride_in_1x1`: see
    `model.backbones.resnet.ResNet`. `head_norm`: see `model.heads.Subnet`. `p6_from`: see
    `model.fpn.FeaturePyramid`.
    """

    num_classes: int
    backbone: str = "resnet50"
    head_width: int = 256
    head_depth: int = 4
    prior: float = 0.01
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    norm: BackboneNorm = "frozen"
    norm_eps: float = 1e-5
    stride_in_1x1: bool = False
    head_norm: HeadNorm = "none"
    p6_from: P6From = "c5"

    def __post_init__(self) -> None:
        for name, least in (("num_classes", 1), ("head_width", 1), ("head_depth", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} {value}: accepted are whole numbers from {least}")
        if not 0.0 < self.prior < 1.0:
            raise InputError(f"prior {self.prior}: accepted are probabilities between 0 and 1")
        for name, kind in (("norm", BackboneNorm), ("head_norm", HeadNorm), ("p6_from", P6From)):
            value, accepted = getattr(self, name), get_args(kind)
            if value not in accepted:
                raise InputError(f"{name} {value!r}: accepted are {', '.join(accepted)}")
        eps = self.norm_eps
        if not 0.0 <= eps < math.inf or (eps == 0.0 and self.norm != "frozen"):
            raise InputError(f"norm_eps {eps}: accepted are numbers above 0, and 0 for frozen norm")
        groups = NORM_GROUPS
        # A group of one channel has nothing to normalise by where a level is a single location.
        if self.head_norm == "group" and (self.head_width % groups or self.head_width == groups):
            raise InputError(
                f"head_width {self.head_width}: accepted with head_norm 'group' are multiples of "
                f"its {groups} groups, from {2 * groups} on"
            )


class Predictions(NamedTuple):
    """Per level P3..P7: logits [B, N, K] and deltas [B, N, 4], N anchors in anchor order."""

    logits: list[Tensor]
    deltas: list[Tensor]


class RetinaNet(nn.Module):
    """Logits and deltas of every anchor (paper, sec. 4 and Figure 3)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, depth = architecture.head_width, architecture.head_depth
        per_location = architecture.anchors.per_location
        head_norm = architecture.head_norm
        self.backbone = build_backbone(
            architecture.backbone,
            architecture.norm,
            norm_eps=architecture.norm_eps,
            stride_in_1x1=architecture.stride_in_1x1,
        )
        self.fpn = FeaturePyramid(self.backbone.channels, width, architecture.p6_from)
        self.class_head = Subnet(width, depth, per_location, architecture.num_classes, head_norm)
        self.box_head = Subnet(width, depth, per_location, 4, head_norm)
        set_class_prior(self.class_head, architecture.prior)

    def forward(self, images: Tensor) -> Predictions:
        """Predictions for normalised images, float [B, 3, H, W]; H and W multiples of 32."""
        levels = self.fpn(self.backbone(images))
        return Predictions(
            [self.class_head(level) for level in levels],
            [self.box_head(level) for level in levels],
        )


def build_retinanet(num_classes: int, backbone: str = "resnet50", **options: Any) -> RetinaNet:
    """A RetinaNet with random weights, in training mode; nothing is downloaded.

    `options`: further fields of `Architecture`. Load ImageNet weights with
    `model.backbones.registry.load_backbone_weights`.
    Raises InputError for an unknown backbone or a value out of range.
    """
    return RetinaNet(Architecture(num_classes, backbone, **options))
