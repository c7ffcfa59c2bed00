"""Runs of a study: what they train, and that each is made once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import model.reproduction.study as study_module
from model.checkpoint import Checkpoint
from model.errors import InputError
from model.files import alone
from model.losses.mining import Mining
from model.recipe import Recipe
from model.reproduction.study import FOCAL, Setting, Study
from model.retinanet import Architecture
from model.training.ends import Interrupted, TrainingStopped


class Trainer:
    """Stands in for `train`: notes the recipes, ends as told."""

    def __init__(self) -> None:
        self.recipes: list[Recipe] = []
        self.error: Exception | None = None

    def __call__(self, recipe: Recipe, out: Path, resume: bool, *rest: Any) -> Checkpoint:
        assert resume
        self.recipes.append(recipe)
        out.mkdir(parents=True, exist_ok=True)
        (out / "last.pt").touch()
        if self.error:
            raise self.error
        metrics = {"val": {"AP": 0.25, "AP50": 0.5, "AP75": 0.125}}
        return Checkpoint(Architecture(1, "mobilenet_v2"), ("cat",), {}, metrics=metrics)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    fake = Trainer()
    monkeypatch.setattr(study_module, "train", fake)
    return fake


def small_study(tmp_path: Path, say: Any = lambda sentence: None, **changes: Any) -> Study:
    setting = {"out": tmp_path, "pictures": (2, 1), "seeds": 3, **changes}
    return Study(Setting(**setting), say)


def test_recipe_has_the_losses_and_anchors_of_the_paper(tmp_path: Path) -> None:
    recipe = small_study(tmp_path).recipe("1d-ohem-1-3-256-nms-0.5")
    assert recipe.loss.classes == "cross_entropy"
    assert recipe.loss.mining == Mining("ohem_1_3", 256, 0.5)
    dense = small_study(tmp_path).recipe("1c-scales-4-ratios-3").model.anchors
    assert dense.per_location == 12
    assert dense.sizes == (16.0, 32.0, 64.0, 128.0, 256.0)


def test_recipe_differs_from_another_of_the_paper_in_its_losses_alone(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    focal, star = (study.recipe(name) for name in (FOCAL, "3-focal-star-4-0"))
    apart = {"name", "expect", "loss"}
    assert focal.model_dump(exclude=apart) == star.model_dump(exclude=apart)
    assert focal.loss != star.loss


def test_run_is_trained_once(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    first = study.outcome(study.recipe(FOCAL))
    again = small_study(tmp_path).outcome(study.recipe(FOCAL))
    assert first == again
    assert first.metrics["AP"] == 0.25
    assert len(trainer.recipes) == 1


def test_run_that_another_process_is_at_is_waited_for(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    recipe = study.recipe(FOCAL)
    folder = study.outcome(recipe).folder
    waiting = threading.Thread(target=study.outcome, args=(recipe,))
    with alone(folder / "lock"):
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_run_is_found_by_another_name(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    study.outcome(study.recipe(FOCAL))
    study.outcome(study.recipe("1d-focal"))
    study.outcome(study.recipe("1e-r50-600", scale=study.setting.scale))
    assert [recipe.name for recipe in trainer.recipes] == [FOCAL]


@pytest.mark.parametrize("other", [{"seed": 1}, {"scale": 96}])
def test_run_of_another_recipe_is_trained(
    tmp_path: Path, trainer: Trainer, other: dict[str, int]
) -> None:
    study = small_study(tmp_path)
    study.outcome(study.recipe(FOCAL))
    study.outcome(study.recipe(FOCAL, **other))
    assert len(trainer.recipes) == 2


def test_interrupted_run_goes_on(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    trainer.error = Interrupted(2, 50)
    with pytest.raises(Interrupted):
        study.outcome(study.recipe(FOCAL))
    trainer.error = None
    outcome = study.outcome(study.recipe(FOCAL))
    assert outcome.metrics["AP"] == 0.25
    assert outcome.seconds is None
    assert not (outcome.folder / "last.pt").exists()


def test_run_that_diverged_is_kept_with_its_reason(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    trainer.error = TrainingStopped("step 15: class loss nan, box loss inf on a.jpg, b.jpg; ...")
    outcome = study.outcome(study.recipe(FOCAL))
    assert outcome.stopped == "step 15: class loss nan, box loss inf"
    assert outcome.metrics == {}
    study.outcome(study.recipe(FOCAL))
    assert len(trainer.recipes) == 1


def test_key_runs_are_repeated_with_other_seeds(tmp_path: Path, trainer: Trainer) -> None:
    said: list[str] = []
    study = small_study(tmp_path, said.append)
    assert len(study.outcomes(FOCAL)) == 3
    assert len(study.outcomes("1b-gamma-5.0")) == 1
    assert [recipe.train.seed for recipe in trainer.recipes] == [0, 1, 2, 0]
    assert said[1] == "1b-gamma-2.0, seed 1: AP 25.0, AP50 50.0"


def test_used_runs_are_counted_once(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    study.outcomes(FOCAL)
    study.outcome(study.recipe("1d-focal"))
    assert len(study.used) == 3


def test_curve_is_the_class_loss_of_each_step(tmp_path: Path, trainer: Trainer) -> None:
    study = small_study(tmp_path)
    outcome = study.outcome(study.recipe(FOCAL))
    entries = [
        {"step": 1, "class_loss": 2.5},
        {"step": 2, "class_loss": 0.5},
        {"step": 2, "val": {}},
    ]
    (outcome.folder / "log.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert outcome.curve == [2.5, 0.5]


def test_given_data_is_trained_on_and_measured_by(tmp_path: Path) -> None:
    recipe = small_study(tmp_path, data=tmp_path / "cells").recipe(FOCAL)
    (source,), val = recipe.data.train, recipe.data.val
    assert val is not None
    assert source.annotations == tmp_path / "cells" / "train.json"  # type: ignore[union-attr]
    assert val.annotations == tmp_path / "cells" / "val.json"  # type: ignore[union-attr]
    assert source.images == val.images == tmp_path / "cells" / "images"  # type: ignore[union-attr]


def test_setting_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps 0: accepted are numbers from 1"):
        Setting(out=tmp_path, steps=0)


def test_study_trains_and_measures_for_real(tmp_path: Path) -> None:
    study = small_study(tmp_path, steps=2, batch_size=1, scale=64)
    outcome = study.outcome(study.recipe(FOCAL))
    assert 0.0 <= outcome.metrics["AP"] <= 1.0
    assert len(outcome.curve) == 2
    assert (outcome.folder / "best.pt").exists()
