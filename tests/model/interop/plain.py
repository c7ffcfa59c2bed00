"""What the plain re-implementations of the sources share: nothing of ours is used here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]

CANVAS = (128, 256)
"""Multiples of 128, where torchvision's strides are constants too."""


def blocks_and_noise() -> np.ndarray:
    """An image for the top left of the canvas, uint8 RGB [120, 200, 3]."""
    random = np.random.default_rng(7)
    blocks = random.integers(0, 256, (15, 25, 3)).repeat(8, axis=0).repeat(8, axis=1)
    noise = random.integers(-20, 20, (120, 200, 3))
    return (blocks + noise).clip(0, 255).astype(np.uint8)


class Found(NamedTuple):
    """Detections, best first: boxes xyxy [D, 4], scores [D], classes [D]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class Level(NamedTuple):
    """One level's anchors [N, 4], logits [N, K] and deltas [N, 4]."""

    anchors: np.ndarray
    logits: np.ndarray
    deltas: np.ndarray


class RandomState:
    """Fills a state dict so that signals neither die nor explode, and every convention shows."""

    def __init__(self, seed: int) -> None:
        self.state: State = {}
        self.random = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random)

    def conv(
        self, name: str, inner: int, outer: int, kernel: int, bias: bool = False, groups: int = 1
    ) -> None:
        fan_in = inner // groups * kernel**2
        weight = self.normal(outer, inner // groups, kernel, kernel) * math.sqrt(2 / fan_in)
        self.state[f"{name}.weight"] = weight
        if bias:
            self.state[f"{name}.bias"] = self.normal(outer) * 0.1

    def batch_norm(self, name: str, channels: int, gain: float = 1.0) -> None:
        """Every third channel has a variance beside which an eps of 1e-5 counts."""
        variance = torch.rand(channels, generator=self.random) + 0.5
        weight = torch.full((channels,), gain)
        variance[::3] *= 1e-4
        weight[::3] *= 1e-2
        self.state[f"{name}.weight"] = weight
        self.state[f"{name}.bias"] = self.normal(channels) * 0.1
        self.state[f"{name}.running_mean"] = self.normal(channels) * 0.1
        self.state[f"{name}.running_var"] = variance


def batch_norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    groups = x.shape[1] // weight.shape[1]
    bias = state.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)


def rows(output: Tensor, per_anchor: int) -> np.ndarray:
    """[1, A * N, H, W] -> [H * W * A, N]."""
    _, channels, height, width = output.shape
    split = output.reshape(channels // per_anchor, per_anchor, height, width).numpy()
    return split.transpose(2, 3, 0, 1).reshape(-1, per_anchor)


def set_spread(state: State, name: str, outputs: Sequence[Tensor], spread: float) -> None:
    """Scales an output convolution so that what it says spreads this far around zero."""
    said = torch.cat([output.flatten() for output in outputs])
    state[f"{name}.weight"] *= spread / said.std()
    state[f"{name}.bias"] *= spread / said.std()
    state[f"{name}.bias"] -= said.mean() * spread / said.std()


def set_count(state: State, name: str, outputs: Sequence[Tensor], count: int) -> None:
    """Shifts the logits so that this many scores lie above .05."""
    said = torch.cat([output.flatten() for output in outputs]).sort(descending=True).values
    state[f"{name}.bias"] += math.log(0.05 / 0.95) - (said[count - 1] + said[count]) / 2


def detections(
    levels: list[Level],
    size: tuple[int, int],
    *,
    most: int,
    clip_first: bool = True,
    iou_threshold: float = 0.5,
) -> Found:
    """The rule of the paper, sec. 4.1: above .05, the 1,000 best a level, NMS by class."""
    parts = []
    for anchors, logits, deltas in levels:
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        anchor, label = np.nonzero(scores > 0.05)
        best = np.argsort(-scores[anchor, label], kind="stable")[:1000]
        anchor, label = anchor[best], label[best]
        parts.append((decoded(anchors[anchor], deltas[anchor]), scores[anchor, label], label))
    boxes, scores, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    clipped = boxes.clip(0, [size[1], size[0], size[1], size[0]])
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if labels[j] == labels[i]]
        compared = clipped if clip_first else boxes
        if not (overlaps(compared[i], compared[rivals]) > iou_threshold).any():
            kept.append(i)
    kept = kept[:most]
    # A box without area is no detection of ours, and detectron2 too drops it.
    solid = (clipped[kept, 2:] > clipped[kept, :2]).all(axis=1)
    return Found(clipped[kept][solid], scores[kept][solid], labels[kept][solid])


def decoded(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    anchors, deltas = anchors.astype(np.float64), deltas.astype(np.float64)
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, 2:] + anchors[:, :2]) / 2 + deltas[:, :2] * sides
    half = sides * np.exp(np.minimum(deltas[:, 2:], math.log(1000 / 16))) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inter = np.prod((high - low).clip(0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def without_twin(found: Found, others: Found) -> int:
    """How many have no detection among the others within .001 px and 1e-5 of the score."""
    same = found.classes[:, None] == others.classes
    same &= np.abs(found.scores[:, None] - others.scores) < 1e-5
    same &= np.abs(found.boxes[:, None] - others.boxes).max(axis=-1) < 1e-3
    return int((~same.any(axis=1)).sum())
