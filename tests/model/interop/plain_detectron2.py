"""detectron2's RetinaNet in plain functions of its own state dict."""

from __future__ import annotations

import math

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

BODY, FPN, HEAD = "backbone.bottom_up", "backbone", "head"
ANCHORS = 9
EPS = 1e-5
MSRA = ("BGR", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True)
FAIR = ("BGR", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), False)
TORCHVISION = ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False)
"""Order of the channels, pixel_mean, pixel_std, stride_in_1x1 of the zoo's configurations."""

Style = tuple[str, tuple[float, float, float], tuple[float, float, float], bool]


def random_state(
    seed: int,
    style: Style,
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
    *,
    bottleneck: bool = False,
    groups: int = 1,
    group_width: int = 64,
    num_classes: int = 3,
    width: int = 64,
) -> State:
    """Random weights that detect something, with detectron2's names."""
    made = RandomState(seed)

    def normed(name: str, inner: int, outer: int, kernel: int, **more: float) -> None:
        made.conv(name, inner, outer, kernel, groups=int(more.get("groups", 1)))
        made.batch_norm(f"{name}.norm", outer, more.get("gain", 1.0))

    normed(f"{BODY}.stem.conv1", 3, 64, 7)
    if style is MSRA:  # what it sees has a spread of 60, not of 1
        made.state[f"{BODY}.stem.conv1.weight"] /= 60
    inner = 64
    expansion = 4 if bottleneck else 1
    for stage, count in enumerate(blocks):
        outer = 64 * 2**stage * expansion
        hidden = 64 * 2**stage * group_width // 64 * groups
        for block in range(count):
            name = f"{BODY}.res{stage + 2}.{block}"
            if inner != outer:
                normed(f"{name}.shortcut", inner, outer, 1)
            if bottleneck:
                normed(f"{name}.conv1", inner, hidden, 1)
                normed(f"{name}.conv2", hidden, hidden, 3, groups=groups)
                normed(f"{name}.conv3", hidden, outer, 1, gain=0.5)
            else:
                normed(f"{name}.conv1", inner, outer, 3)
                normed(f"{name}.conv2", outer, outer, 3, gain=0.5)
            inner = outer
    for level in (3, 4, 5):
        c = 16 * 2**level * expansion
        made.conv(f"{FPN}.fpn_lateral{level}", c, width, 1, bias=True)
        made.conv(f"{FPN}.fpn_output{level}", width, width, 3, bias=True)
    made.conv(f"{FPN}.top_block.p6", inner, width, 3, bias=True)
    made.conv(f"{FPN}.top_block.p7", width, width, 3, bias=True)
    for layer in (0, 2, 4, 6):
        made.conv(f"{HEAD}.cls_subnet.{layer}", width, width, 3, bias=True)
        made.conv(f"{HEAD}.bbox_subnet.{layer}", width, width, 3, bias=True)
    made.conv(f"{HEAD}.cls_score", width, ANCHORS * num_classes, 3, bias=True)
    made.conv(f"{HEAD}.bbox_pred", width, ANCHORS * 4, 3, bias=True)
    state = made.state
    x = prepared(blocks_and_noise(), style)
    logits, deltas = zip(*heads(state, pyramid(state, x, style[3])), strict=True)
    set_spread(state, f"{HEAD}.cls_score", logits, 1.0)
    set_spread(state, f"{HEAD}.bbox_pred", deltas, 0.3)
    logits, _ = zip(*heads(state, pyramid(state, x, style[3])), strict=True)
    set_count(state, f"{HEAD}.cls_score", logits, 95)  # fewer than are kept
    return state


def prepared(image: np.ndarray, style: Style) -> Tensor:
    channels, mean, std, _ = style
    pixels = torch.from_numpy(image if channels == "RGB" else image[..., ::-1].copy())
    scaled = (pixels - torch.tensor(mean)) / torch.tensor(std)
    x = torch.zeros(1, 3, *CANVAS)
    x[0, :, : image.shape[0], : image.shape[1]] = scaled.permute(2, 0, 1)
    return x


def detect(
    state: State,
    image: np.ndarray,
    style: Style,
    *,
    clip_first: bool,
    iou_threshold: float = 0.5,
) -> Found:
    """What detectron2 finds in an RGB image that needs no resizing, padded to the canvas.

    Its own order is NMS first, then clipping.
    """
    outputs = heads(state, pyramid(state, prepared(image, style), style[3]))
    num_classes = len(state[f"{HEAD}.cls_score.bias"]) // ANCHORS
    levels = []
    for index, (logits, deltas) in enumerate(outputs):
        anchors = anchors_of(32 * 2**index, 8 * 2**index, logits.shape[-2:])
        levels.append(Level(anchors, rows(logits, num_classes), rows(deltas, 4)))
    return detections(
        levels, image.shape[:2], most=100, clip_first=clip_first, iou_threshold=iou_threshold
    )


def cell_anchors(size: int) -> np.ndarray:
    """detectron2's `generate_cell_anchors`: sizes slowest, ratios fastest."""
    anchors = []
    for own in (size, size * 2 ** (1.0 / 3), size * 2 ** (2.0 / 3)):
        for ratio in (0.5, 1.0, 2.0):
            w = math.sqrt(own**2 / ratio)
            h = ratio * w
            anchors.append([-w / 2, -h / 2, w / 2, h / 2])
    return np.array(anchors)


def anchors_of(size: int, stride: int, grid: tuple[int, int]) -> np.ndarray:
    """`DefaultAnchorGenerator` with offset 0."""
    y, x = np.meshgrid(np.arange(grid[0]) * stride, np.arange(grid[1]) * stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (shifts + cell_anchors(size)).reshape(-1, 4)


def normed(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    return batch_norm(state, f"{name}.norm", conv(state, name, x, stride), EPS)


def pyramid(state: State, x: Tensor, stride_in_1x1: bool) -> list[Tensor]:
    x = F.max_pool2d(F.relu(normed(state, f"{BODY}.stem.conv1", x, 2)), 3, 2, 1)
    features = {}
    for stage in (2, 3, 4, 5):
        block = 0
        while f"{BODY}.res{stage}.{block}.conv1.weight" in state:
            stride = 2 if block == 0 and stage > 2 else 1
            x = residual(state, f"{BODY}.res{stage}.{block}", x, stride, stride_in_1x1)
            block += 1
        features[stage] = x
    merged = conv(state, f"{FPN}.fpn_lateral5", features[5])
    levels = [conv(state, f"{FPN}.fpn_output5", merged)]
    for level in (4, 3):
        above = merged.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        merged = conv(state, f"{FPN}.fpn_lateral{level}", features[level]) + above
        levels.insert(0, conv(state, f"{FPN}.fpn_output{level}", merged))
    p6 = conv(state, f"{FPN}.top_block.p6", features[5], 2)
    return [*levels, p6, conv(state, f"{FPN}.top_block.p7", F.relu(p6), 2)]


def residual(state: State, name: str, x: Tensor, stride: int, stride_in_1x1: bool) -> Tensor:
    shortcut = f"{name}.shortcut.weight" in state
    shorter = normed(state, f"{name}.shortcut", x, stride) if shortcut else x
    if f"{name}.conv3.weight" in state:
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        y = F.relu(normed(state, f"{name}.conv1", x, first))
        y = F.relu(normed(state, f"{name}.conv2", y, second))
        y = normed(state, f"{name}.conv3", y)
    else:
        y = F.relu(normed(state, f"{name}.conv1", x, stride))
        y = normed(state, f"{name}.conv2", y)
    return F.relu(y + shorter)


def heads(state: State, levels: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    outputs = []
    for level in levels:
        classes = boxes = level
        for layer in (0, 2, 4, 6):
            classes = F.relu(conv(state, f"{HEAD}.cls_subnet.{layer}", classes))
            boxes = F.relu(conv(state, f"{HEAD}.bbox_subnet.{layer}", boxes))
        logits = conv(state, f"{HEAD}.cls_score", classes)
        outputs.append((logits, conv(state, f"{HEAD}.bbox_pred", boxes)))
    return outputs
