"""A training step as torchvision's reference writes it: the yardstick of the benchmark."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim import SGD

from model.anchors import anchors_of_canvas
from model.backbones.norm import FrozenBatchNorm2d
from model.benchmark.naive import naive_detection_loss
from model.criterion import Target
from model.data.samples import Batch
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.recipe import OptimizerSection
from model.retinanet import RetinaNet

ALPHA, GAMMA = 0.25, 2.0


class PlainLoop:
    """The plain loop with weights of its own, those of `model` at first: eager, float32, NCHW, SGD.

    Source: torchvision 0.20, references/detection/engine.py, models/detection/transform.py,
    ops/misc.py; for the loss see `naive_detection_loss`.
    """

    def __init__(self, model: RetinaNet, rule: OptimizerSection, device: str) -> None:
        self.device = device
        self.network = _as_torchvision(copy.deepcopy(model))
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.optimizer = SGD(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=rule.lr,
            momentum=rule.momentum,
            weight_decay=rule.weight_decay,
        )

    def take_step(self, batch: Batch) -> tuple[float, float]:
        """Takes one step; its class loss and box loss. ValueError if they are not finite."""
        x = self._normalised(batch)
        predictions = self.network(x)
        canvas, spec = (x.shape[2], x.shape[3]), self.network.architecture.anchors
        targets = [Target(*(part.to(self.device) for part in t)) for t in batch.targets]
        class_loss, box_loss = naive_detection_loss(
            predictions, anchors_of_canvas(canvas, spec, self.device), targets, ALPHA, GAMMA
        )
        loss = class_loss + box_loss
        if not math.isfinite(loss.item()):
            raise ValueError(f"the plain loop's loss is {loss.item()}")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return class_loss.item(), box_loss.item()

    def _normalised(self, batch: Batch) -> Tensor:
        """Image by image, into a batch of zeros."""
        mean = torch.tensor(IMAGENET_MEAN, device=self.device)[:, None, None]
        std = torch.tensor(IMAGENET_STD, device=self.device)[:, None, None]
        count, height, width, _ = batch.images.shape
        x = torch.zeros(count, 3, height, width, device=self.device)
        for padded, image, size in zip(x, batch.images, batch.image_sizes.tolist(), strict=True):
            valid = image[: size[0], : size[1]].to(self.device).permute(2, 0, 1).float() / 255
            padded[:, : size[0], : size[1]] = (valid - mean) / std
        return x


class PlainFrozenBatchNorm2d(nn.Module):
    """Frozen batch norm as torchvision writes it: scale and shift made in each call, two passes."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, ours: FrozenBatchNorm2d) -> None:
        super().__init__()
        self.eps = ours.eps
        for name, value in ours.named_buffers():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises [B, C, H, W]."""
        scale = self.weight[:, None, None] * (self.running_var[:, None, None] + self.eps).rsqrt()
        return x * scale + (self.bias[:, None, None] - self.running_mean[:, None, None] * scale)


def _as_torchvision(model: RetinaNet) -> RetinaNet:
    """The model with the norms and activations of torchvision's backbones."""
    for path, module in list(model.named_modules()):
        if isinstance(module, FrozenBatchNorm2d):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, PlainFrozenBatchNorm2d(module))
        elif isinstance(module, nn.ReLU6):
            module.inplace = True
    return model
