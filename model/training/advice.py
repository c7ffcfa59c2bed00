"""What in a recipe is legal but rarely meant."""

from __future__ import annotations

from model.recipe import OptimizerSection, Recipe

PAPER_RATE_PER_IMAGE = 0.01 / 16
"""SGD's learning rate of the paper, sec. 4.1, over the images of its step."""

FEW_FOR_STATISTICS = 8
"""Images of a process below which batch statistics are known to be too noisy to train with."""


def advice(recipe: Recipe, processes: int = 1) -> list[str]:
    """A sentence for each thing that a person should know before a long run."""
    rule, section = recipe.train, recipe.model
    sentences = []
    if sentence := rate_advice(recipe.optimizer, rule.batch_size):
        sentences.append(sentence)
    if recipe.optimizer.warmup_steps >= rule.steps:
        sentences.append(
            f"optimizer.warmup_steps {recipe.optimizer.warmup_steps} is not below train.steps "
            f"{rule.steps}: the learning rate never gets where it should"
        )
    if not (section.backbone_weights or section.weights):
        if section.frozen_stages:
            sentences.append(
                f"model.frozen_stages {section.frozen_stages} of a backbone with random weights "
                "will stay random: set model.backbone_weights"
            )
        elif section.norm == "frozen":
            sentences.append(
                "the backbone starts from random weights with frozen norm, which trains slowly: "
                'set model.backbone_weights, or model.norm = "trained"'
            )
    share = rule.batch_size // processes
    if section.norm == "trained" and share < FEW_FOR_STATISTICS:
        sentences.append(
            f'model.norm = "trained" with {share} images a process: their statistics are noisy; '
            "frozen, or sync with several GPUs, is safer"
        )
    if recipe.data.val is None:
        sentences.append("no data.val: nothing chooses the best weights, there will be no best.pt")
    return sentences


def rate_advice(rule: OptimizerSection, batch_size: int) -> str | None:
    """What is wrong with SGD's learning rate for this batch, if it is off by more than twofold.

    Source: Focal Loss paper, sec. 4.1, 'Optimization': .01 for 16 images.
    """
    if rule.name != "sgd" or rule.lr_for is not None:
        return None
    scaled = PAPER_RATE_PER_IMAGE * batch_size
    ratio = rule.lr / scaled
    if 0.5 <= ratio <= 2.0:
        return None
    return (
        f"optimizer.lr {rule.lr:g} for {batch_size} images a step is {ratio:.2g} times the paper's "
        f"0.01 for 16: linear scaling gives {scaled:.4g} (or set optimizer.lr = 0.01 and "
        "optimizer.lr_for = 16)"
    )
