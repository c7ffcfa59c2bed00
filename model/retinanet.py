"""RetinaNet: backbone, feature pyramid, two subnets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from model.backbones.registry import build_backbone
from model.errors import InputError
from model.fpn import FeaturePyramid
from model.geometry import AnchorSpec
from model.heads import Subnet, set_class_prior


@dataclass(frozen=True)
class Architecture:
    """What decides a RetinaNet's parameters; part of each checkpoint."""

    num_classes: int
    backbone: str = "resnet50"
    head_width: int = 256
    head_depth: int = 4
    prior: float = 0.01
    anchors: AnchorSpec = field(default_factory=AnchorSpec)

    def __post_init__(self) -> None:
        for name, least in (("num_classes", 1), ("head_width", 1), ("head_depth", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} {value}: accepted are whole numbers from {least}")
        if not 0.0 < self.prior < 1.0:
            raise InputError(f"prior {self.prior}: accepted are probabilities between 0 and 1")


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
        self.backbone = build_backbone(architecture.backbone)
        self.fpn = FeaturePyramid(self.backbone.channels, width)
        self.class_head = Subnet(width, depth, per_location, architecture.num_classes)
        self.box_head = Subnet(width, depth, per_location, 4)
        set_class_prior(self.class_head, architecture.prior)

    def forward(self, images: Tensor) -> Predictions:
        """Predictions for normalised images, float [B, 3, H, W]; H and W multiples of 32."""
        levels = self.fpn(self.backbone(images))
        return Predictions(
            [self.class_head(level) for level in levels],
            [self.box_head(level) for level in levels],
        )


def build_retinanet(
    num_classes: int,
    backbone: str = "resnet50",
    *,
    head_width: int = 256,
    head_depth: int = 4,
    prior: float = 0.01,
    anchors: AnchorSpec | None = None,
) -> RetinaNet:
    """A RetinaNet with random weights, in training mode; nothing is downloaded.

    Load ImageNet weights with `model.backbones.registry.load_backbone_weights`.
    Raises InputError for an unknown backbone or a value out of range.
    """
    spec = anchors or AnchorSpec()
    return RetinaNet(Architecture(num_classes, backbone, head_width, head_depth, prior, spec))
