"""A detector small enough to export within seconds, whose random weights find something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from model.backbones.norm import FrozenBatchNorm2d
from model.checkpoint import Checkpoint
from model.heads import set_class_prior
from model.retinanet import Architecture, RetinaNet

CLASSES = ("Platelets", "RBC", "WBC")

CLASS_GAIN = 0.05
"""Brings the logits of P3 to a standard deviation of about 1 around the prior.

With group norm, whose subnets have features of that size already, it takes 1.
"""

BOX_GAIN = 0.02
"""Keeps most boxes within a third of their anchor's size."""


def make_tiny_checkpoint(
    seed: int = 1, class_gain: float = CLASS_GAIN, **options: Any
) -> Checkpoint:
    """Untrained weights with 45 to 150 detections above .05 in a drawn scene of 64 to 128 px.

    `options`: fields of the architecture to be other than usual.
    """
    architecture = Architecture(len(CLASSES), "mobilenet_v2", head_width=40, head_depth=1)
    architecture = replace(architecture, **options)
    torch.manual_seed(seed)
    model = RetinaNet(architecture)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # With the sigma of .01 that training starts from, nothing of a picture would reach
            # the logits; and the exporter leaves out biases that are all zero.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, FrozenBatchNorm2d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    set_class_prior(model.class_head, architecture.prior)
    with torch.no_grad():
        model.class_head.output.weight *= class_gain
        model.box_head.output.weight *= BOX_GAIN
        model.box_head.output.bias *= BOX_GAIN
    return Checkpoint(
        architecture=architecture,
        classes=CLASSES,
        state=model.state_dict(),
        recipe={"name": "tiny", "train": {"scale": 64}},
        step=7,
    )
