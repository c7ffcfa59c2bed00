"""Checkpoints: one file with the weights and all that is needed to use them or to go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.errors import InputError
from model.files import whole_file
from model.geometry import AnchorSpec
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.retinanet import Architecture, RetinaNet
from model.weights import read_weights

FORMAT = 1


@dataclass
class Checkpoint:
    """A trained (or half-trained) model.

    `state`: the weights to use. `training`: what a resumed run needs, else empty. `recipe`: the
    recipe's own table. `metrics`: what was measured on the weights.
    """

    architecture: Architecture
    classes: tuple[str, ...]
    state: dict[str, Tensor]
    recipe: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    training: dict[str, Any] = field(default_factory=dict)

    def build(self) -> RetinaNet:
        """The model with these weights, in eval mode."""
        model = RetinaNet(self.architecture)
        model.load_state_dict(self.state)
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes the file whole or not at all."""
    raw = {
        "retinaserve_checkpoint": FORMAT,
        **{k: v for k, v in vars(checkpoint).items() if k != "architecture"},
        "architecture": asdict(checkpoint.architecture),
    }
    with whole_file(path) as part:
        torch.save(raw, part)


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; InputError for anything that isn't one of ours."""
    raw = read_weights(path)
    found = raw.pop("retinaserve_checkpoint", None) if isinstance(raw, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: not a checkpoint of this version (format {found!r}, accepted is {FORMAT}); "
            "`retinaserve train` writes them"
        )
    try:
        shape = raw.pop("architecture")
        architecture = Architecture(**{**shape, "anchors": AnchorSpec(**shape["anchors"])})
        checkpoint = Checkpoint(architecture=architecture, **raw)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: a damaged checkpoint ({error})") from None
    if len(checkpoint.classes) != architecture.num_classes:
        raise InputError(
            f"{path}: {len(checkpoint.classes)} class names for {architecture.num_classes} classes"
        )
    with torch.device("meta"):
        wanted = RetinaNet(checkpoint.architecture).state_dict()
    for key in sorted(wanted.keys() | checkpoint.state.keys()):
        ours, theirs = wanted.get(key), checkpoint.state.get(key)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise InputError(
                f"{path}: {key} does not fit {checkpoint.architecture.backbone} with "
                f"{len(checkpoint.classes)} classes: the weights are of another architecture"
            )
    return checkpoint
