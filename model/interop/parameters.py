"""Another implementation's parameters under our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.backbones.registry import BACKBONES, build_backbone
from model.errors import InputError
from model.geometry import AnchorSpec
from model.heads import HeadNorm
from model.retinanet import Architecture, RetinaNet

KeyOf = Callable[[str], str]
"""The source's name of a parameter that we know by another."""

DEFAULT_EPS = 1e-5
"""Of batch norm, in torchvision and detectron2 alike."""

BATCH_COUNTER = ".num_batches_tracked"
"""What trained batch norm has beyond frozen; nothing depends on it."""

BOX_SIDES = 4


@dataclass(frozen=True)
class Imported:
    """A detector of another implementation in our form, and what its user should know of it.

    `mean`, `std`: of RGB / 255, as in `model.normalise`.
    """

    architecture: Architecture
    state: dict[str, Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notes: tuple[str, ...]


def tensors_of(path: Path, raw: Any) -> dict[str, Tensor]:
    """The float32 tensors in what a file holds: a state dict, or {"model": state dict, ...}.

    Raises InputError for anything else.
    """
    state = raw["model"] if isinstance(raw, dict) and isinstance(raw.get("model"), dict) else raw
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path}: holds no state dict: names with a tensor each")
    found = {}
    for key, value in state.items():
        array = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        if not array and not isinstance(value, Tensor):
            raise InputError(f"{path}: {key!r} is no tensor; accepted is a state dict")
        # A copy: what pickles hold may be read-only or of the other byte order.
        found[str(key)] = torch.from_numpy(value.astype("=f4")) if array else value.float()
    return found


def architecture_of(
    path: Path,
    given: dict[str, Tensor],
    key_of: KeyOf,
    anchors: AnchorSpec,
    head_norm: HeadNorm = "none",
) -> Architecture:
    """The architecture that the parameters of a file have the names and shapes of."""
    head_width, class_channels, box_channels = (
        _of(path, given, key_of(f"{part}.bias")).numel()
        for part in ("fpn.lateral.0", "class_head.output", "box_head.output")
    )
    per_location = anchors.per_location
    if box_channels != per_location * BOX_SIDES or class_channels % per_location:
        raise InputError(
            f"{path}: {class_channels} class and {box_channels} box channels do not come from "
            f"{per_location} anchors a location, the source's default; no others can be imported"
        )
    step = 2 if head_norm == "none" else 3
    depth = 0
    while key_of(f"class_head.tower.{depth * step}.weight") in given:
        depth += 1
    return Architecture(
        num_classes=class_channels // per_location,
        backbone=_nearest_backbone(given, key_of),
        head_width=head_width,
        head_depth=depth,
        anchors=anchors,
        head_norm=head_norm,
    )


def our_state(
    path: Path, given: dict[str, Tensor], key_of: KeyOf, architecture: Architecture
) -> dict[str, Tensor]:
    """The parameters under our names.

    Raises InputError that names the first one that is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in RetinaNet(architecture).state_dict().items()}
    kind = f"a RetinaNet with {architecture.backbone}"
    state = {}
    for ours, shape in wanted.items():
        theirs = key_of(ours)
        value = _of(path, given, theirs, kind)
        if value.shape != shape:
            raise InputError(
                f"{path}: {theirs!r} has shape {tuple(value.shape)}, {kind} needs {tuple(shape)}"
            )
        state[ours] = value
    known = {key_of(ours) for ours in wanted}
    for theirs in given:
        if theirs not in known and not theirs.endswith(BATCH_COUNTER):
            raise InputError(f"{path}: {theirs!r} is no part of {kind}")
    return state


def renamed(key: str, rules: Iterable[tuple[str, str]]) -> str:
    """The key with its beginning replaced by the first rule (pattern, replacement) that fits it."""
    for pattern, replacement in rules:
        name, count = re.subn(f"^{pattern}", replacement, key)
        if count:
            return name
    return key


def _of(
    path: Path, given: dict[str, Tensor], key: str, kind: str = "a RetinaNet of this source"
) -> Tensor:
    if key not in given:
        raise InputError(f"{path}: no {key!r}, which {kind} has")
    return given[key]


def _nearest_backbone(given: dict[str, Tensor], key_of: KeyOf) -> str:
    """The ResNet whose parameters differ least from the file's."""

    def misfits(name: str) -> int:
        wanted = {key_of(f"backbone.{key}"): shape for key, shape in _backbone_shapes(name).items()}
        fitting = [
            key for key, shape in wanted.items() if key in given and given[key].shape == shape
        ]
        # What it lacks, and what the file has beyond it but for a constant.
        return len(wanted) - 2 * len(fitting)

    return min((name for name in BACKBONES if name.startswith("res")), key=misfits)


@cache
def _backbone_shapes(name: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: value.shape for key, value in build_backbone(name).state_dict().items()}
