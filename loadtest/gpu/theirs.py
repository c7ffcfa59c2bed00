"""torchvision's RetinaNet with our weights: what ours is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.engines.device import Device
from model.checkpoint import Checkpoint
from model.interop.torchvision import ANCHORS, torchvision_name
from model.letterbox import Canvas

LIKE_THEIRS: dict[str, Any] = {"p6_from": "p5", "anchors": ANCHORS}
"""Fields of `Architecture` that make our network the one that torchvision builds."""


def torchvision_detect(
    checkpoint: Checkpoint, canvas: Canvas, device: Device, half: bool
) -> Callable[[NDArray[np.uint8]], list[dict[str, Tensor]]]:
    """Torchvision's eager detector on a batch of uint8 images, results in the host's memory.

    Images have the canvas's size, so that its own resizing leaves them as they are. `half`: under
    autocast, as its reference scripts run it. ModuleNotFoundError without torchvision.
    """
    from torchvision.models import get_model
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops import FrozenBatchNorm2d
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    width = checkpoint.architecture.head_width
    body = get_model(checkpoint.architecture.backbone, weights=None, norm_layer=FrozenBatchNorm2d)
    # As its resnet_fpn_backbone() has it, which knows no other width than 256.
    backbone = BackboneWithFPN(
        body,
        {"layer2": "0", "layer3": "1", "layer4": "2"},
        [body.inplanes // 4, body.inplanes // 2, body.inplanes],
        width,
        extra_blocks=LastLevelP6P7(width, width),
    )
    model = RetinaNet(
        backbone,
        len(checkpoint.classes),
        min_size=min(canvas),
        max_size=max(canvas),
        image_mean=list(checkpoint.mean),
        image_std=list(checkpoint.std),
    )
    state = {torchvision_name(key, step=2): value for key, value in checkpoint.state.items()}
    model.load_state_dict(state)
    model = model.eval().to(str(device))

    def detect(images: NDArray[np.uint8]) -> list[dict[str, Tensor]]:
        with torch.inference_mode(), torch.autocast(device.kind, torch.float16, enabled=half):
            pixels = torch.from_numpy(images).to(str(device)).permute(0, 3, 1, 2).float() / 255
            found = model(list(pixels))
            return [{name: part.cpu() for name, part in one.items()} for one in found]

    return detect
