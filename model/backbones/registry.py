"""Backbones by name, and their ImageNet weights."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.backbones.mobilenet_v2 import MobileNetV2
from model.backbones.norm import BackboneNorm, norm_layer
from model.backbones.resnet import ResNet
from model.backbones.stages import Backbone
from model.errors import InputError
from model.files import sha256_of
from model.weights import read_weights


class _Kind(NamedTuple):
    """`imagenet`: torchvision's file. `blocks` and what follows: see `ResNet`; else MobileNetV2."""

    imagenet: str
    blocks: tuple[int, int, int, int] | None = None
    bottleneck: bool = False
    groups: int = 1
    group_width: int = 64


# The files are torchvision's IMAGENET1K_V1: trained as the paper's backbones were. V2 classifies
# better by a longer recipe that the paper's figures know nothing of.
BACKBONES = {
    "mobilenet_v2": _Kind("mobilenet_v2-b0353104.pth"),
    "resnet18": _Kind("resnet18-f37072fd.pth", (2, 2, 2, 2)),
    "resnet34": _Kind("resnet34-b627a593.pth", (3, 4, 6, 3)),
    "resnet50": _Kind("resnet50-0676ba61.pth", (3, 4, 6, 3), True),
    "resnet101": _Kind("resnet101-63fe2227.pth", (3, 4, 23, 3), True),
    "resnet152": _Kind("resnet152-394f9c45.pth", (3, 8, 36, 3), True),
    "resnext50_32x4d": _Kind("resnext50_32x4d-7cdf4587.pth", (3, 4, 6, 3), True, 32, 4),
    "resnext101_32x8d": _Kind("resnext101_32x8d-8ba56ff5.pth", (3, 4, 23, 3), True, 32, 8),
}

IMAGENET = "imagenet"
"""Names torchvision's own weights where a path could stand."""

_IMAGENET_URL = "https://download.pytorch.org/models"
_NOT_IN_BACKBONE = ("classifier.", "fc.", "features.18.")
_UNUSED = ".num_batches_tracked"
"""How many batches made the statistics: they move by a fixed momentum."""


def build_backbone(
    name: str,
    norm: BackboneNorm = "frozen",
    *,
    norm_eps: float = 1e-5,
    stride_in_1x1: bool = False,
) -> Backbone:
    """The named backbone with random weights, in training mode.

    Raises InputError that lists the names, or where there is no 1x1 convolution to stride.
    Source: He et al., Delving Deep into Rectifiers: weights that keep the signal's size.
    Departs: of grouped convolutions each group counts for itself. By torchvision's count the
    signal of a mobilenet_v2 whose norm is frozen has shrunk to 3e-9 at C5; so it is 5.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r}: accepted are {', '.join(BACKBONES)}")
    kind = BACKBONES[name]
    if stride_in_1x1 and not kind.bottleneck:
        names = ", ".join(key for key, other in BACKBONES.items() if other.bottleneck)
        raise InputError(f"stride_in_1x1: {name} has no bottlenecks; accepted are {names}")
    layer = norm_layer(norm, norm_eps)
    backbone: Backbone
    if kind.blocks is None:
        backbone = MobileNetV2(layer)
    else:
        backbone = ResNet(
            layer, kind.blocks, kind.bottleneck, kind.groups, kind.group_width, stride_in_1x1
        )
    backbone.name = name
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            module.weight.data *= math.sqrt(module.groups)
    return backbone


def load_backbone_weights(backbone: Backbone, source: str | Path) -> None:
    """Loads a torchvision classification state dict (`.pth`) into a backbone.

    `source`: a file, or "imagenet" for torchvision's own, which is fetched into torch hub's cache
    unless it is there. A file whose name ends in a dash and eight hex digits must have a SHA-256
    that begins with them. The classifier's own keys are left aside.
    Raises InputError, naming the first offender, when a key is missing, unknown or of another
    shape, or when the file can't be had, is not what its name says or can't be read.
    """
    path = _imagenet_file(backbone.name) if str(source) == IMAGENET else Path(source)
    _check_hash(path)
    state: dict[str, Tensor] = read_weights(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state dict: keys with a tensor each")
    wanted = {k: v for k, v in backbone.state_dict().items() if not k.endswith(_UNUSED)}
    given = {
        key: value
        for key, value in state.items()
        if not key.startswith(_NOT_IN_BACKBONE) and not key.endswith(_UNUSED)
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
    backbone.load_state_dict(given, strict=False)


def _imagenet_file(name: str) -> Path:
    """The file of torchvision's weights in torch hub's cache, fetched if it isn't there."""
    file = BACKBONES[name].imagenet
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    if path.exists():
        return path
    url = f"{_IMAGENET_URL}/{file}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), _hash_in(path))
    except OSError as error:
        raise InputError(
            f"{url}: can't be fetched ({error}); put the file into {path.parent}, or give the path "
            "of one as backbone_weights"
        ) from None
    except RuntimeError as error:
        raise InputError(f"{url}: not the file that its name says: {error}") from None
    return path


def _hash_in(path: Path) -> str | None:
    """The beginning of its SHA-256 that a file's name ends in, by torch hub's convention."""
    found = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    return found and found[1]


def _check_hash(path: Path) -> None:
    expected = _hash_in(path)
    if expected is None or not path.is_file():
        return
    digest = sha256_of(path)
    if not digest.startswith(expected):
        raise InputError(
            f"{path}: not the file that its name says: its SHA-256 begins with {digest[:8]}, not "
            f"{expected}; remove it, or rename it if it is what you mean"
        )
