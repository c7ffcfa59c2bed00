"""From a recipe to a run: what each key of its model does to the network that is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import load_checkpoint
from model.errors import InputError
from model.training.loop import train
from model.training.setup import open_data, start_run
from model.training.state import Run
from tests.model.training.tiny_run import DRAWN, assert_same, coco_with, quiet, recipe

MODEL = {"backbone": "mobilenet_v2", "head_width": 32, "head_depth": 1}
SMALL = {"scale": 64, "canvas": "64x96"}


def started(say: Any = quiet, **sections: Any) -> Run:
    rule = recipe(SMALL, **sections)
    return start_run(rule, open_data(rule, say), say, "cpu")


def test_architecture_is_what_the_recipe_says() -> None:
    section = {**MODEL, "head_width": 64, "norm": "trained", "head_norm": "group", "p6_from": "p5"}
    architecture = started(model=section).model.architecture
    assert architecture.num_classes == 3
    assert {key: getattr(architecture, key) for key in section} == section


def test_first_classes_are_those_of_the_first_training_set(tmp_path: Path) -> None:
    assert started(data={"train": [coco_with(tmp_path, [])]}).classes == ("cat",)


def test_same_seed_gives_the_same_first_weights() -> None:
    first, second = (started().model.state_dict() for _ in range(2))
    assert_same(first, second)


def test_run_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    train(recipe({**SMALL, "steps": 1}, model=MODEL), tmp_path, False, quiet)
    said: list[str] = []
    weights = {**MODEL, "weights": str(tmp_path / "last.pt"), "norm": "trained"}
    drawn = {"train": [DRAWN]}
    run = started(
        said.append, model=weights, data=drawn, classes=["dog", "Platelets", "RBC", "WBC"]
    )
    before, after = load_checkpoint(tmp_path / "last.pt").state, run.model.state_dict()
    assert f"started from {tmp_path / 'last.pt'}: new classes: dog" in said
    for key in ("backbone.features.0.0.weight", "fpn.p6.weight", "box_head.output.bias"):
        assert torch.equal(before[key], after[key]), key
    old, new = before["class_head.output.bias"], after["class_head.output.bias"]
    # Nine anchors of 3 classes, and of 4, the first of them new and at the prior.
    assert torch.equal(old.view(9, 3), new.view(9, 4)[:, 1:])
    assert new.view(9, 4)[:, 0].tolist() == pytest.approx([-4.59512] * 9, abs=1e-5)


def test_missing_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"none\.pt: no such weights file"):
        started(model={**MODEL, "weights": "none.pt"})


def test_frozen_stages_keep_weights_and_statistics(tmp_path: Path) -> None:
    section = {**MODEL, "backbone": "resnet18", "norm": "trained", "frozen_stages": 2}
    first = started(model=section).model.state_dict()
    rule = recipe({**SMALL, "steps": 2, "ema_decay": 0}, model=section)
    last = train(rule, tmp_path, False, quiet).state
    still = {key for key, value in first.items() if torch.equal(value, last[key])}
    frozen = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
    assert still == {key for key in first if key.startswith(frozen)}
