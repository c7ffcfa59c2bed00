"""A RetinaNet whose random weights find about as much in a picture as trained ones do."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from model.backbones.norm import FrozenBatchNorm2d
from model.checkpoint import Checkpoint
from model.letterbox import Canvas
from model.normalise import normalise
from model.retinanet import Architecture, RetinaNet
from model.synthetic.scene import draw_scene

SCORE_THRESHOLD = 0.05
CANDIDATES_PER_PIXEL = 1000 / (800 * 1088)
"""How many candidates shall pass the threshold: about 1,000 in a picture at the paper's largest
scale. With the weights that training starts from none does, and NMS has nothing to do."""

DELTAS_SPREAD = 0.2
"""Of random weights it is about 10: boxes that far from their anchors are clipped to nothing, and
NMS has nothing to do either."""

SCENES = 4
"""Drawn scenes to set the weights by. One alone is too few: in another there may be fifty times as
many candidates, or none."""


def lively_checkpoint(
    backbone: str, num_classes: int, canvas: Canvas, **options: Any
) -> Checkpoint:
    """An untrained detector for measuring: sizes, operators and work of a trained one.

    Convolutions keep their signal's size, frozen norms have the statistics of drawn scenes on
    `canvas`, boxes lie near their anchors, and the class prior is such that the usual number of
    candidates passes the score threshold in these scenes on average. `options`: further fields of
    `Architecture`.
    """
    architecture = Architecture(num_classes, backbone, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = RetinaNet(architecture).eval()
        for part in (model.fpn, model.class_head, model.box_head):
            for module in part.modules():
                if isinstance(module, nn.Conv2d) and module is not model.box_head.output:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    checkpoint = Checkpoint(
        architecture,
        tuple(f"class {number}" for number in range(num_classes)),
        state={},
        recipe={"name": backbone, "model": {"backbone": backbone}, "train": {"scale": 800}},
    )
    size = (canvas.height, canvas.width)
    scenes = torch.stack([torch.from_numpy(draw_scene(seed, size).image) for seed in range(SCENES)])
    sizes = torch.tensor([size] * SCENES)
    pixels = normalise(scenes, sizes, checkpoint.mean, checkpoint.std)
    hooks = [
        module.register_forward_pre_hook(_take_statistics)
        for module in model.modules()
        if isinstance(module, FrozenBatchNorm2d)
    ]
    with torch.no_grad():
        predictions = model(pixels)
        deltas = torch.cat([level.flatten() for level in predictions.deltas])
        model.box_head.output.weight *= DELTAS_SPREAD / deltas.std()
        logits = torch.cat([level.flatten() for level in predictions.logits])
        wanted = round(CANDIDATES_PER_PIXEL * canvas.height * canvas.width)
        _let_pass(model, logits, max(1, wanted) * SCENES)
    for hook in hooks:
        hook.remove()
    checkpoint.state = model.state_dict()
    return checkpoint


def _take_statistics(norm: FrozenBatchNorm2d, args: tuple[Tensor, ...]) -> None:
    """Gives a norm the mean and variance of each channel of what it is about to see."""
    (x,) = args
    norm.running_mean.copy_(x.mean(dim=(0, 2, 3)))
    norm.running_var.copy_(x.var(dim=(0, 2, 3)))


def _let_pass(model: RetinaNet, logits: Tensor, wanted: int) -> None:
    """Scales the class head's output to a spread of 1 and shifts it until so many logits pass."""
    output = model.class_head.output
    spread = logits.std()
    least = (logits.topk(wanted).values[-1] - output.bias.mean()) / spread  # type: ignore[union-attr]
    output.weight /= spread
    passing = math.log(SCORE_THRESHOLD / (1 - SCORE_THRESHOLD))
    output.bias.fill_(passing - least)  # type: ignore[union-attr]
