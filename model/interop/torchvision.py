"""RetinaNets of torchvision: `retinanet_resnet50_fpn`, its v2, and their like."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from model.geometry import AnchorSpec
from model.heads import HeadNorm
from model.interop.parameters import (
    BATCH_COUNTER,
    DEFAULT_EPS,
    Imported,
    architecture_of,
    our_state,
    renamed,
    tensors_of,
)
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.weights import read_weights

ANCHORS = AnchorSpec(offset=0.0, rounding="torchvision")

COCO_V1_EPS = 0.0
"""What torchvision sets in the frozen batch norms of its first COCO weights after loading them:
they were trained before it had an eps (pytorch/vision#2933)."""

STRIDES_NOTE = (
    "torchvision takes an anchor's stride from the padded image: its detections are equal on "
    "canvases whose sides are multiples of 128; on others its largest anchors lie elsewhere"
)


def read_torchvision(path: Path, head_norm: HeadNorm, norm_eps: float | None) -> Imported:
    """The RetinaNet in a torchvision file: a state dict, or a training checkpoint of one.

    `head_norm`: `none` for v1, `group` for v2. `norm_eps`: of the backbone's batch norm; without
    one 1e-5, but 0 for v1 with frozen batch norm.
    Raises InputError for a file that can't be read or holds anything else.
    """
    # The reference scripts keep their command line in the checkpoint.
    with torch.serialization.safe_globals([argparse.Namespace]):
        raw = read_weights(path)
    given = {_newest_name(key): value for key, value in tensors_of(path, raw).items()}
    notes = [STRIDES_NOTE]
    frozen = not any(key.endswith(BATCH_COUNTER) for key in given)
    if norm_eps is None and frozen and head_norm == "none":
        norm_eps = COCO_V1_EPS
        notes.append(
            "batch norm has eps 0, as torchvision sets it for its COCO weights; for a model "
            "trained from an ImageNet backbone say --norm-eps 1e-5"
        )
    key_of = partial(torchvision_name, step=2 if head_norm == "none" else 3)
    architecture = architecture_of(path, given, key_of, ANCHORS, head_norm)
    p6 = given.get(key_of("fpn.p6.weight"))
    # torchvision's own rule, `use_P5`.
    keeps_width = p6 is not None and p6.shape[:1] == p6.shape[1:2]
    architecture = replace(
        architecture,
        norm_eps=DEFAULT_EPS if norm_eps is None else norm_eps,
        p6_from="p5" if keeps_width else "c5",
    )
    state = our_state(path, given, key_of, architecture)
    return Imported(architecture, state, IMAGENET_MEAN, IMAGENET_STD, tuple(notes))


_RENAMED = (
    (r"backbone\.", "backbone.body."),
    (r"fpn\.lateral\.(\d)\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"fpn\.smooth\.(\d)\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"fpn\.(p[67])\.", r"backbone.fpn.extra_blocks.\1."),
    (r"class_head\.output\.", "head.classification_head.cls_logits."),
    (r"box_head\.output\.", "head.regression_head.bbox_reg."),
)
_TOWERS = {"class": "classification", "box": "regression"}


def torchvision_name(key: str, step: int) -> str:
    """Torchvision's name of one of our weights; `step`: modules of a tower's layer, 2 or 3."""
    if tower := re.fullmatch(r"(class|box)_head\.tower\.(\d+)\.(\w+)", key):
        layer, part = divmod(int(tower[2]), step)
        return f"head.{_TOWERS[tower[1]]}_head.conv.{layer}.{part}.{tower[3]}"
    return renamed(key, _RENAMED)


def _newest_name(key: str) -> str:
    """Files of before torchvision 0.13 number convolutions plainly, not in blocks with a norm."""
    if pyramid := re.fullmatch(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)", key):
        return f"{pyramid[1]}.0.{pyramid[2]}"
    if tower := re.fullmatch(r"(head\.\w+_head\.conv)\.(\d+)\.(weight|bias)", key):
        return f"{tower[1]}.{int(tower[2]) // 2}.0.{tower[3]}"
    return key
