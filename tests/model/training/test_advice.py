"""What a recipe is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from model.training.advice import advice, rate_advice
from tests.model.training.tiny_run import DRAWN, recipe

DATA = {"train": [DRAWN], "val": DRAWN}
OPTIMIZER = {"name": "sgd", "lr": 0.01, "lr_for": 16, "warmup_steps": 0}
MODEL = {"backbone": "mobilenet_v2", "backbone_weights": "imagenet"}


def warned(processes: int = 1, train: dict[str, Any] | None = None, **sections: Any) -> list[str]:
    sound = {"data": DATA, "optimizer": OPTIMIZER, "model": MODEL}
    return advice(recipe(train, **{**sound, **sections}), processes)


def test_sound_recipe_gets_none() -> None:
    assert warned() == []


@pytest.mark.parametrize(
    ("lr", "batch_size", "sound"),
    [
        (0.01, 16, True),
        (0.01, 8, True),
        (0.01, 32, True),
        (0.01, 7, False),
        (0.01, 33, False),
        (0.00125, 2, True),
        (0.01, 2, False),
    ],
)
def test_rate_more_than_twofold_off_linear_scaling_is_warned_of(
    lr: float, batch_size: int, sound: bool
) -> None:
    rule = recipe(optimizer={"lr": lr}).optimizer
    assert (rate_advice(rule, batch_size) is None) == sound


def test_rate_advice_names_the_numbers_and_the_scaled_rate() -> None:
    sentence = rate_advice(recipe(optimizer={"lr": 0.01}).optimizer, 2)
    assert sentence is not None
    assert sentence.startswith(
        "optimizer.lr 0.01 for 2 images a step is 8 times the paper's 0.01 for 16: linear scaling "
        "gives 0.00125"
    )


@pytest.mark.parametrize("optimizer", [{"name": "adamw", "lr": 4e-4}, {"lr": 0.3, "lr_for": 16}])
def test_rate_of_adamw_or_one_that_is_scaled_is_left_alone(optimizer: dict[str, Any]) -> None:
    assert rate_advice(recipe(optimizer=optimizer).optimizer, 2) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"optimizer": {**OPTIMIZER, "warmup_steps": 6}},
            "warmup_steps 6 is not below",
        ),
        ({"data": {"train": [DRAWN]}}, "no data.val"),
        ({"model": {"backbone": "resnet18"}}, "random weights with frozen norm"),
        ({"model": {"backbone": "resnet18", "frozen_stages": 2}}, "will stay random"),
        ({"model": {**MODEL, "norm": "trained"}}, "with 2 images a process"),
        ({"model": {**MODEL, "norm": "trained"}, "processes": 2}, "with 1 images a process"),
    ],
)
def test_what_is_rarely_meant_is_warned_of(change: dict[str, Any], words: str) -> None:
    (sentence,) = warned(**change)
    assert words in sentence


def test_trained_weights_need_no_warning() -> None:
    assert warned(model={"backbone": "resnet18", "weights": "before.pt"}) == []
