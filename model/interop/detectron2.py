"""RetinaNets of detectron2: the model zoo's `.pkl` files and the `.pth` files of its training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from model.backbones.registry import BACKBONES
from model.errors import InputError
from model.geometry import LEVELS, AnchorSpec
from model.interop.parameters import (
    DEFAULT_EPS,
    Imported,
    architecture_of,
    our_state,
    renamed,
    tensors_of,
)
from model.interop.pickle_file import read_pickle
from model.weights import read_weights

ANCHORS = AnchorSpec(offset=0.0)

Pretrained = Literal["msra", "fair", "torchvision"]
"""Which of detectron2's ImageNet backbones a training began with, by its folder in the zoo."""


class Conventions(NamedTuple):
    """What a configuration says with the backbone it begins with, and files do not.

    `mean`, `std`: in the order of the channels, 0..255.
    """

    channels: Literal["BGR", "RGB"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride_in_1x1: bool


CONVENTIONS: dict[Pretrained, Conventions] = {
    "msra": Conventions("BGR", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True),
    "fair": Conventions("BGR", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), False),
    "torchvision": Conventions("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
}

CLIPPING_NOTE = (
    "detectron2 compares boxes in NMS before it clips them to the image, this project after: where "
    "boxes reach over the border, another one of two that overlap may be kept"
)


def read_detectron2(path: Path, pretrained: Pretrained | None, norm_eps: float | None) -> Imported:
    """The RetinaNet in a detectron2 file.

    `pretrained`: by default `fair` for ResNeXt and `msra` for the rest, as in the zoo's own
    configurations. `norm_eps`: of the backbone's batch norm; without one 1e-5.
    Raises InputError for a file that can't be read, or whose pixels, anchors or parameters differ.
    """
    raw = read_pickle(path) if path.suffix == ".pkl" else read_weights(path)
    given = tensors_of(path, raw)
    constants = {key: given.pop(key) for key in list(given) if key.startswith(_CONSTANTS)}
    architecture = architecture_of(path, given, _detectron2_name, ANCHORS)
    if pretrained is None:
        pretrained = "fair" if architecture.backbone.startswith("resnext") else "msra"
    conventions = CONVENTIONS[pretrained]
    _check_constants(path, constants, pretrained)
    architecture = replace(
        architecture,
        norm_eps=DEFAULT_EPS if norm_eps is None else norm_eps,
        stride_in_1x1=conventions.stride_in_1x1 and BACKBONES[architecture.backbone].bottleneck,
    )
    state = our_state(path, given, _detectron2_name, architecture)
    for head in ("class_head", "box_head"):
        for part in ("weight", "bias"):
            key = f"{head}.output.{part}"
            state[key] = _transposed(state[key], len(ANCHORS.scales), len(ANCHORS.ratios))
    mean, std = conventions.mean, conventions.std
    if conventions.channels == "BGR":
        state["backbone.conv1.weight"] = state["backbone.conv1.weight"].flip(1)
        mean, std = mean[::-1], std[::-1]
    return Imported(architecture, state, _fractions(mean), _fractions(std), (CLIPPING_NOTE,))


def _transposed(anchors: Tensor, slow: int, fast: int) -> Tensor:
    """Anchors [slow * fast * N, ...] with what was fast in their order slow, and the reverse.

    detectron2 has sizes slowest and ratios fastest, we the other way round.
    """
    rest = anchors.shape[1:]
    return anchors.reshape(slow, fast, -1, *rest).transpose(0, 1).reshape(-1, *rest)


def _fractions(levels: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (level / 255 for level in levels)
    return red, green, blue


_CONSTANTS = ("pixel_", "anchor_generator.")


def _check_constants(path: Path, held: dict[str, Tensor], pretrained: Pretrained) -> None:
    """InputError where the constants that older versions keep in files are not those assumed."""
    for name in ("mean", "std"):
        assumed = getattr(CONVENTIONS[pretrained], name)
        if _differs(held.get(f"pixel_{name}"), torch.tensor(assumed)):
            raise InputError(
                f"{path}: pixel_{name} is not the {list(assumed)} of what began with {pretrained} "
                f"weights: say --pretrained, one of {', '.join(CONVENTIONS)}"
            )
    for level in range(len(LEVELS)):
        half = torch.tensor(ANCHORS.shapes(level)) / 2
        corners = torch.cat([-half, half], dim=1)
        assumed = _transposed(corners, len(ANCHORS.ratios), len(ANCHORS.scales))
        key = f"anchor_generator.cell_anchors.{level}"
        if _differs(held.get(key), assumed):
            raise InputError(f"{path}: {key!r} differs from the anchors of the zoo's RetinaNets")


def _differs(held: Tensor | None, assumed: Tensor) -> bool:
    if held is None:
        return False
    return held.numel() != assumed.numel() or not torch.allclose(
        held.flatten(), assumed.flatten(), atol=0.01
    )


_RENAMED = (
    (r"backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"backbone\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    (r"fpn\.(p[67])\.", r"backbone.top_block.\1."),
    (r"class_head\.tower\.", "head.cls_subnet."),
    (r"class_head\.output\.", "head.cls_score."),
    (r"box_head\.tower\.", "head.bbox_subnet."),
    (r"box_head\.output\.", "head.bbox_pred."),
)
_IN_BLOCK = (
    (r"bn(\d)\.", r"conv\1.norm."),
    (r"downsample\.0\.", "shortcut."),
    (r"downsample\.1\.", "shortcut.norm."),
)
_IN_PYRAMID = {"lateral": "lateral", "smooth": "output"}


def _detectron2_name(key: str) -> str:
    if block := re.fullmatch(r"backbone\.layer(\d)\.(\d+)\.(.+)", key):
        stage, part = int(block[1]) + 1, renamed(block[3], _IN_BLOCK)
        return f"backbone.bottom_up.res{stage}.{block[2]}.{part}"
    if level := re.fullmatch(r"fpn\.(lateral|smooth)\.(\d)\.(.+)", key):
        return f"backbone.fpn_{_IN_PYRAMID[level[1]]}{LEVELS[int(level[2])]}.{level[3]}"
    return renamed(key, _RENAMED)
