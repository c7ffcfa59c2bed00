"""torchvision's RetinaNet in plain functions of its own state dict."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.model.interop.plain import (
    CANVAS,
    Found,
    Level,
    RandomState,
    State,
    batch_norm,
    blocks_and_noise,
    conv,
    detections,
    rows,
    set_count,
    set_spread,
)

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])
BODY, FPN = "backbone.body", "backbone.fpn"
CLASSES, BOXES = "head.classification_head", "head.regression_head"
ANCHORS = 9


def random_state(
    seed: int,
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
    *,
    bottleneck: bool = False,
    groups: int = 1,
    group_width: int = 64,
    v2: bool = False,
    num_classes: int = 3,
    width: int = 64,
) -> State:
    """Random weights that detect something, with torchvision's names."""
    made = RandomState(seed)
    made.conv(f"{BODY}.conv1", 3, 64, 7)
    made.batch_norm(f"{BODY}.bn1", 64)
    inner = 64
    expansion = 4 if bottleneck else 1
    for stage, count in enumerate(blocks, start=1):
        outer = 64 * 2 ** (stage - 1) * expansion
        hidden = 64 * 2 ** (stage - 1) * group_width // 64 * groups
        for block in range(count):
            name = f"{BODY}.layer{stage}.{block}"
            if bottleneck:
                made.conv(f"{name}.conv1", inner, hidden, 1)
                made.conv(f"{name}.conv2", hidden, hidden, 3, groups=groups)
                made.conv(f"{name}.conv3", hidden, outer, 1)
                made.batch_norm(f"{name}.bn1", hidden)
                made.batch_norm(f"{name}.bn2", hidden)
                made.batch_norm(f"{name}.bn3", outer, gain=0.5)
            else:
                made.conv(f"{name}.conv1", inner, outer, 3)
                made.conv(f"{name}.conv2", outer, outer, 3)
                made.batch_norm(f"{name}.bn1", outer)
                made.batch_norm(f"{name}.bn2", outer, gain=0.5)
            if block == 0 and (stage > 1 or bottleneck):
                made.conv(f"{name}.downsample.0", inner, outer, 1)
                made.batch_norm(f"{name}.downsample.1", outer)
            inner = outer
    for level in range(3):
        c = 128 * 2**level * expansion
        made.conv(f"{FPN}.inner_blocks.{level}.0", c, width, 1, bias=True)
        made.conv(f"{FPN}.layer_blocks.{level}.0", width, width, 3, bias=True)
    made.conv(f"{FPN}.extra_blocks.p6", inner if v2 else width, width, 3, bias=True)
    made.conv(f"{FPN}.extra_blocks.p7", width, width, 3, bias=True)
    for head in (CLASSES, BOXES):
        for layer in range(4):
            made.conv(f"{head}.conv.{layer}.0", width, width, 3, bias=not v2)
            if v2:
                made.state[f"{head}.conv.{layer}.1.weight"] = 1 + made.normal(width) * 0.1
                made.state[f"{head}.conv.{layer}.1.bias"] = made.normal(width) * 0.1
    made.conv(f"{CLASSES}.cls_logits", width, ANCHORS * num_classes, 3, bias=True)
    made.conv(f"{BOXES}.bbox_reg", width, ANCHORS * 4, 3, bias=True)
    state = made.state
    x = prepared(blocks_and_noise())
    logits, deltas = zip(*heads(state, pyramid(state, x, eps=1e-5)), strict=True)
    set_spread(state, f"{CLASSES}.cls_logits", logits, 1.0)
    set_spread(state, f"{BOXES}.bbox_reg", deltas, 0.3)
    logits, _ = zip(*heads(state, pyramid(state, x, eps=1e-5)), strict=True)
    set_count(state, f"{CLASSES}.cls_logits", logits, 250)  # fewer than are kept
    return state


def as_of_old(state: State) -> State:
    """The names of files of before torchvision 0.13."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[2] in ("inner_blocks", "layer_blocks"):
            del parts[4]
        elif parts[2] == "conv":
            parts[3:5] = [str(2 * int(parts[3]))]
        renamed[".".join(parts)] = value
    return renamed


def prepared(image: np.ndarray) -> Tensor:
    scaled = (torch.from_numpy(image) / 255 - MEAN) / STD
    x = torch.zeros(1, 3, *CANVAS)
    x[0, :, : image.shape[0], : image.shape[1]] = scaled.permute(2, 0, 1)
    return x


def detect(state: State, image: np.ndarray, eps: float) -> Found:
    """What torchvision finds in an RGB image that needs no resizing, padded to the canvas."""
    num_classes = len(state[f"{CLASSES}.cls_logits.bias"]) // ANCHORS
    levels = []
    for index, (logits, deltas) in enumerate(heads(state, pyramid(state, prepared(image), eps))):
        height, width = logits.shape[-2:]
        anchors = anchors_of(32 * 2**index, (height, width))
        levels.append(Level(anchors, rows(logits, num_classes), rows(deltas, 4)))
    return detections(levels, image.shape[:2], most=300)


def anchors_of(size: int, grid: tuple[int, int]) -> np.ndarray:
    """torchvision's `AnchorGenerator` for one level."""
    scales = np.array([size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))], np.float32)
    heights = np.sqrt(np.array([0.5, 1.0, 2.0], np.float32))
    ws = (1 / heights[:, None] * scales).reshape(-1)
    hs = (heights[:, None] * scales).reshape(-1)
    cell = np.round(np.stack([-ws, -hs, ws, hs], axis=1) / 2)
    y = np.arange(grid[0]) * (CANVAS[0] // grid[0])
    x = np.arange(grid[1]) * (CANVAS[1] // grid[1])
    y, x = (axis.reshape(-1) for axis in np.meshgrid(y, x, indexing="ij"))
    return (np.stack([x, y, x, y], axis=1)[:, None] + cell).reshape(-1, 4)


def pyramid(state: State, x: Tensor, eps: float) -> list[Tensor]:
    x = conv(state, f"{BODY}.conv1", x, 2)
    x = F.max_pool2d(F.relu(batch_norm(state, f"{BODY}.bn1", x, eps)), 3, 2, 1)
    features = []
    for stage in (1, 2, 3, 4):
        block = 0
        while f"{BODY}.layer{stage}.{block}.conv1.weight" in state:
            stride = 2 if block == 0 and stage > 1 else 1
            x = residual(state, f"{BODY}.layer{stage}.{block}", x, stride, eps)
            block += 1
        features.append(x)
    c3, c4, c5 = features[1:]
    inner = conv(state, f"{FPN}.inner_blocks.2.0", c5)
    levels = [conv(state, f"{FPN}.layer_blocks.2.0", inner)]
    for index, c in ((1, c4), (0, c3)):
        lateral = conv(state, f"{FPN}.inner_blocks.{index}.0", c)
        inner = lateral + F.interpolate(inner, size=lateral.shape[-2:], mode="nearest")
        levels.insert(0, conv(state, f"{FPN}.layer_blocks.{index}.0", inner))
    outer, width = state[f"{FPN}.extra_blocks.p6.weight"].shape[:2]
    use_p5 = width == outer
    p6 = conv(state, f"{FPN}.extra_blocks.p6", levels[-1] if use_p5 else c5, 2)
    return [*levels, p6, conv(state, f"{FPN}.extra_blocks.p7", F.relu(p6), 2)]


def residual(state: State, name: str, x: Tensor, stride: int, eps: float) -> Tensor:
    bottleneck = f"{name}.conv3.weight" in state
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    y = x
    for number, own in enumerate(strides, start=1):
        y = batch_norm(
            state, f"{name}.bn{number}", conv(state, f"{name}.conv{number}", y, own), eps
        )
        if number < len(strides):
            y = F.relu(y)
    if f"{name}.downsample.0.weight" in state:
        x = conv(state, f"{name}.downsample.0", x, stride)
        x = batch_norm(state, f"{name}.downsample.1", x, eps)
    return F.relu(y + x)


def heads(state: State, levels: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [
        (
            conv(state, f"{CLASSES}.cls_logits", tower(state, CLASSES, level)),
            conv(state, f"{BOXES}.bbox_reg", tower(state, BOXES, level)),
        )
        for level in levels
    ]


def tower(state: State, head: str, x: Tensor) -> Tensor:
    for layer in range(4):
        x = conv(state, f"{head}.conv.{layer}.0", x)
        if f"{head}.conv.{layer}.1.weight" in state:
            weight, bias = (state[f"{head}.conv.{layer}.1.{part}"] for part in ("weight", "bias"))
            x = group_norm(x, weight, bias)
        x = F.relu(x)
    return x


def group_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """32 groups, eps 1e-5: Wu and He, Group Normalization, eq. 1."""
    groups = x.reshape(x.shape[0], 32, -1)
    variance = groups.var(dim=2, correction=0, keepdim=True)
    normal = (groups - groups.mean(dim=2, keepdim=True)) / torch.sqrt(variance + 1e-5)
    return normal.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]
