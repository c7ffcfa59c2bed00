"""The optimiser, its learning rate over the run, and the moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from model.recipe import OptimizerSection
from model.retinanet import RetinaNet


def base_rate(rule: OptimizerSection, batch_size: int) -> float:
    """The learning rate of a run of `batch_size` images a step, scaled linearly if `lr_for` is set.

    Source: Goyal et al., 2017, sec. 2.1, 'Linear Scaling Rule'.
    """
    return rule.lr if rule.lr_for is None else rule.lr * batch_size / rule.lr_for


def build_optimizer(model: RetinaNet, rule: OptimizerSection, batch_size: int) -> Optimizer:
    """SGD (the paper's) or AdamW over backbone and new layers, each group with its base rate.

    Biases and the scales of norms are not decayed, frozen weights are left out.
    """
    lr = base_rate(rule, batch_size)
    groups = []
    for from_backbone in (True, False):
        for decayed in (True, False):
            members = [
                p
                for name, p in model.named_parameters()
                if p.requires_grad
                and name.startswith("backbone.") == from_backbone
                and (p.ndim > 1) == decayed
            ]
            rate = lr * (rule.backbone_lr_factor if from_backbone else 1.0)
            decay = rule.weight_decay if decayed else 0.0
            if members:
                groups.append(
                    {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
                )
    if rule.name == "sgd":
        return SGD(groups, lr=lr, momentum=rule.momentum)
    return AdamW(groups, lr=lr)


def rate_factor(step: int, steps: int, rule: OptimizerSection) -> float:
    """What multiplies the base rate at a step: linear warm-up times the schedule."""
    warm = min(1.0, (step + 1) / (rule.warmup_steps + 1))
    if rule.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * 0.1 ** sum(step >= share * steps for share in rule.milestones)


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Sets every group to its base rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class WeightAverage:
    """Exponential moving average of a model's weights and running statistics.

    The decay grows from .1 as (1 + step) / (10 + step) to `decay`, so that early weights fade.
    Counters (`num_batches_tracked`) are copied. torch's own AveragedModel knows neither.
    """

    def __init__(self, model: RetinaNet, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: RetinaNet, step: int) -> None:
        """Moves the average towards the model's weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current: dict[str, Tensor] = model.state_dict()
        averages, values = [], []
        for key, average in self.state.items():
            if average.is_floating_point():
                averages.append(average)
                values.append(current[key])
            else:
                average.copy_(current[key])
        # One launch for all, as torch's optimisers do: there are hundreds of small tensors.
        torch._foreach_lerp_(averages, values, 1 - decay)
