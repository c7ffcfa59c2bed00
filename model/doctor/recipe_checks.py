"""The recipe against the data: rate, length, prior, start and flips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.sources import CocoSource, DrawnSource, VocSource
from model.doctor.conditions import Conditions
from model.doctor.findings import Findings
from model.recipe import Recipe
from model.training.advice import advice
from model.training.optimizer import base_rate

ADAMW_RATES = (1e-5, 1e-3)
"""Rates that AdamW trains detectors with."""

FEW_EPOCHS = 12
"""The paper's schedule: 90,000 steps of 16 images are 12 times the 118,000 of COCO."""

FEW_PICTURES = 10_000
"""Below this, random weights do not learn to see."""

SIDED = re.compile(r"(?i)(?<![a-z])(left|right)(?![a-z])")
"""Names that a mirrored picture belies; not `brightness`."""

PRIORS = (1e-3, 0.05)
"""From the upper end on every untrained anchor is a detection: the score threshold is .05."""


def check_recipe(recipe: Recipe, labelled: int, findings: Findings) -> None:
    """Adds settings that do not fit each other or `labelled` pictures, repeats counted."""
    findings.add("recipe-advice", advice(recipe))
    train, rule = recipe.train, recipe.optimizer
    rate, (low, high) = base_rate(rule, train.batch_size), ADAMW_RATES
    if rule.name == "adamw" and not low <= rate <= high:
        findings.add("recipe-adamw-rate", count=1, rate=f"{rate:g}", low=low, high=high)
    drawn = [s for s in recipe.data.train if isinstance(s, DrawnSource)]
    pictures = labelled + sum(source.count * source.repeat for source in drawn)
    epochs = train.steps * train.batch_size / max(1, pictures)
    if epochs < FEW_EPOCHS:
        findings.add(
            "recipe-few-epochs",
            count=1,
            epochs=f"{epochs:.2g}",
            steps=train.steps,
            batch=train.batch_size,
            pictures=pictures,
            wanted=-(-FEW_EPOCHS * pictures // train.batch_size),
        )
    if train.batch_size > pictures:
        findings.add("recipe-large-batch", count=1, batch=train.batch_size, pictures=pictures)
    if not PRIORS[0] <= recipe.model.prior < PRIORS[1]:
        findings.add("recipe-prior", count=1, prior=recipe.model.prior)
    model = recipe.model
    random = not (model.backbone_weights or model.weights)
    if random and model.norm != "frozen" and pictures < FEW_PICTURES:  # frozen: advice() says so
        findings.add("recipe-backbone-random", count=1, pictures=pictures)
    findings.add("recipe-file-missing", _missing(recipe))


def check_flips(recipe: Recipe, classes: Sequence[str], findings: Findings) -> None:
    """Adds classes whose names stop being true when the picture is mirrored."""
    if recipe.augment.flips:
        findings.add("recipe-flips-sides", [repr(name) for name in classes if SIDED.search(name)])


def check_canvas(conditions: Conditions, sizes: NDArray[np.float64], findings: Findings) -> None:
    """Adds pictures that the recipe's one canvas does not hold; sizes [P, 2] (height, width)."""
    known = sizes[np.isfinite(sizes).all(axis=1)].astype(int).tolist()
    cropped = [size for size in known if not conditions.holds(tuple(size))]
    findings.add(
        "recipe-canvas-crops",
        count=len(cropped),
        canvas=conditions.canvas,
        scale=conditions.scale,
        share=f"{len(cropped) / max(1, len(known)):.0%}",
    )


def _missing(recipe: Recipe) -> list[str]:
    paths = [recipe.model.weights] if recipe.model.weights else []
    weights = recipe.model.backbone_weights
    if weights and weights != "imagenet":
        paths.append(Path(weights))
    sources = (*recipe.data.train, recipe.data.val)
    paths += [s.images for s in sources if isinstance(s, CocoSource | VocSource)]
    return list(dict.fromkeys(str(path) for path in paths if not path.exists()))
