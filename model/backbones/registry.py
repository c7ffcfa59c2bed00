"""Backbones by name, and their ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from model.backbones.mobilenet_v2 import MobileNetV2
from model.backbones.resnet import ResNet
from model.errors import InputError
from model.weights import read_weights

BACKBONES: dict[str, Callable[[], MobileNetV2 | ResNet]] = {
    "mobilenet_v2": MobileNetV2,
    "resnet18": lambda: ResNet((2, 2, 2, 2), bottleneck=False),
    "resnet34": lambda: ResNet((3, 4, 6, 3), bottleneck=False),
    "resnet50": lambda: ResNet((3, 4, 6, 3), bottleneck=True),
    "resnet101": lambda: ResNet((3, 4, 23, 3), bottleneck=True),
    "resnet152": lambda: ResNet((3, 8, 36, 3), bottleneck=True),
    "resnext50_32x4d": lambda: ResNet((3, 4, 6, 3), True, groups=32, group_width=4),
    "resnext101_32x8d": lambda: ResNet((3, 4, 23, 3), True, groups=32, group_width=8),
}

_NOT_IN_BACKBONE = ("classifier.", "fc.", "features.18.")


def build_backbone(name: str) -> MobileNetV2 | ResNet:
    """The named backbone with random weights; InputError lists the names."""
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r}: accepted are {', '.join(BACKBONES)}")
    return BACKBONES[name]()


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Loads a torchvision classification state dict (`.pth`) into a backbone.

    The classifier's own keys are left aside. Raises InputError, naming the first offender, when a
    key is missing, unknown or of another shape, or when the file can't be read.
    """
    state: dict[str, Tensor] = read_weights(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state dict: keys with a tensor each")
    wanted = backbone.state_dict()
    given = {
        key: value
        for key, value in state.items()
        if not key.startswith(_NOT_IN_BACKBONE) and not key.endswith(".num_batches_tracked")
    }
    if missing := sorted(wanted.keys() - given.keys()):
        raise InputError(f"{path}: no {missing[0]!r}: these are weights of another backbone")
    if unknown := sorted(given.keys() - wanted.keys()):
        raise InputError(
            f"{path}: unexpected {unknown[0]!r}: these are weights of another backbone"
        )
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(value.shape)}, "
                f"this backbone needs {tuple(wanted[key].shape)}"
            )
    backbone.load_state_dict(given)
