"""The loss that training starts from, with the class prior and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from model.anchors import anchors_of_canvas
from model.backbones.registry import load_backbone_weights
from model.criterion import Target, detection_loss
from model.heads import set_class_prior
from model.letterbox import Canvas
from model.losses.rule import LossRule
from model.matching import Matching
from model.normalise import normalise
from model.recipe import OptimizerSection, Recipe
from model.reproduction.plots import panels
from model.reproduction.study import FOCAL, OPTIMIZER, Study
from model.reproduction.tables import points, table
from model.retinanet import build_retinanet

PRIORS = (0.5, 0.01)
STARTS = {"SGD, rough": OptimizerSection(warmup_steps=0), "AdamW, gentle": OPTIMIZER}
"""The paper's optimiser at its rate without warm-up and clipping, and that of all other runs."""
SHORT_STEPS = 60

PAPER_CLASSES = 80
PAPER_CANVAS = Canvas(608, 1024)
"""Of the widest pictures at scale 600."""
OBJECT = (480.0, 272.0, 544.0, 336.0)
"""xyxy, canvas pixels."""


def initialisation(study: Study, out: Path) -> str:
    """Sec. 3.3 and sec. 5.1, 'Network Initialization'."""
    focal = study.recipe(FOCAL).loss
    rules = {"CE": replace(focal, classes="cross_entropy"), "FL": focal}
    first = first_losses(rules, study.setting.backbone_weights)
    at_once = [(name, f"{prior:g}", f"{loss:,.2f}") for (name, prior), loss in first.losses.items()]
    runs = {
        (start, name, prior): study.outcome(
            _short(study.recipe(FOCAL), rules[name], prior, optimizer)
        )
        for start, optimizer in STARTS.items()
        for name, prior in first.losses
    }
    later = []
    with panels(out / "initialisation.svg", len(STARTS)) as axes:
        axis_of = dict(zip(STARTS, axes, strict=True))
        for (start, name, prior), run in runs.items():
            curve = run.curve
            label = rf"{name}, $\pi={prior:g}$"
            axis_of[start].plot(range(1, len(curve) + 1), curve, label=label)
            ended = f"diverged at {run.stopped}" if run.stopped else f"AP {points([run])}"
            figures = (f"{curve[0]:.4g}", f"{curve[-1]:.4g}") if curve else ("", "")
            later.append((start, name, f"{prior:g}", *figures, ended))
        for start, axis in axis_of.items():
            axis.set(title=start, xlabel="step", ylabel="class loss", yscale="log")
    return "\n".join(
        [
            "## The first loss at the paper's size\n",
            f"One object of 64 px on a canvas of {PAPER_CANVAS}, {PAPER_CLASSES} classes, "
            f"{first.anchors:,} anchors, {first.positives} of them with its box. The class loss "
            "before the first step, for each of these:\n",
            table(("loss", "prior", "class loss"), at_once),
            "## Training from there\n",
            f"{SHORT_STEPS} steps. Rough: the paper's SGD at .01 without warm-up and clipping. "
            "Gentle: as in all other runs, AdamW at .001 with both.\n",
            table(("start", "loss", "prior", "first step", "last step", "how it ended"), later),
            "![Class loss with the prior and without](initialisation.svg)\n",
        ]
    )


def _short(base: Recipe, rule: LossRule, prior: float, optimizer: OptimizerSection) -> Recipe:
    steps = min(SHORT_STEPS, base.train.steps)
    return base.model_copy(
        update={
            "name": f"{rule.classes}-prior-{prior:g}-{optimizer.name}",
            "loss": rule,
            "model": base.model.model_copy(update={"prior": prior}),
            "optimizer": optimizer,
            "train": base.train.model_copy(update={"steps": steps, "evaluate_every": steps}),
        }
    )


class FirstLosses(NamedTuple):
    """Of a picture before the first step: its anchors, how many are positive, and the class loss
    for each of these by the name of the rule and the prior.
    """

    anchors: int
    positives: int
    losses: dict[tuple[str, float], float]


@torch.no_grad()
def first_losses(
    rules: dict[str, LossRule], backbone_weights: str | None, canvas: Canvas = PAPER_CANVAS
) -> FirstLosses:
    """The first class loss under each rule and each of PRIORS at the paper's size.

    A grey picture on the paper's canvas with one object, the paper's anchors, 80 classes and heads
    of width 256: ~100k anchors and 9 million logits. The backbone is a small one: at sigma .01 the
    heads hand on next to nothing of it, and the loss is that of the prior.
    """
    torch.manual_seed(0)
    model = build_retinanet(PAPER_CLASSES, "mobilenet_v2").eval()
    if backbone_weights:
        load_backbone_weights(model.backbone, backbone_weights)
    picture = torch.full((1, *canvas, 3), 128, dtype=torch.uint8)
    x = normalise(picture, torch.tensor([canvas]))
    target = Target(
        torch.tensor([OBJECT]),
        torch.tensor([0]),
        torch.zeros(0, 4),
        torch.ones(PAPER_CLASSES, dtype=torch.bool),
    )
    anchors = anchors_of_canvas(canvas)
    losses: dict[tuple[str, float], float] = {}
    for prior in PRIORS:
        set_class_prior(model.class_head, prior)
        predictions = model(x)
        for name, rule in rules.items():
            found = detection_loss(predictions, anchors, [target], Matching(), rule)
            losses[name, prior] = float(found.classes)
    return FirstLosses(sum(map(len, anchors)), int(found.positives), losses)
