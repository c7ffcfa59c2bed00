"""Short runs on drawn scenes: exact resume, refusals, stopping on a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import load_checkpoint
from model.criterion import Losses, detection_loss
from model.errors import InputError
from model.training import step, validation
from model.training.ends import TrainingStopped
from model.training.loop import train
from tests.model.training.tiny_run import DRAWN, coco_with, log, quiet, recipe


def test_same_seed_gives_the_same_run_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(recipe({"steps": 1, "seed": seed}), tmp_path / name, False, quiet)
    a, b, c = (log(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


def test_loss_goes_down(tmp_path: Path) -> None:
    one_scene = {"train": [{**DRAWN, "count": 1}]}
    rule = recipe(
        {"steps": 16, "checkpoint_every": 16, "batch_size": 1, "ema_decay": 0.0},
        data=one_scene,
        augment={"flips": []},
        optimizer={"name": "adamw", "lr": 2e-3, "warmup_steps": 0},
    )
    train(rule, tmp_path, False, quiet)
    total = [entry["class_loss"] + entry["box_loss"] for entry in log(tmp_path)]
    assert len(total) == 16
    assert sum(total[-3:]) < 0.8 * sum(total[:3])


def broken(losses: Losses) -> Losses:
    return losses._replace(classes=losses.classes * torch.nan)


def broken_backwards(losses: Losses) -> Losses:
    # The root of 0 is 0, its slope infinite, and infinity times 0 NaN.
    return losses._replace(classes=losses.classes + torch.sqrt(losses.classes * 0))


@pytest.mark.parametrize(
    ("breaks", "reason"), [(broken, "class loss nan"), (broken_backwards, "gradient norm nan")]
)
def test_loss_or_gradient_of_nan_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[Losses], Losses], reason: str
) -> None:
    original = detection_loss
    taken: list[int] = []

    def breaking(*args: Any, **kwargs: Any) -> Losses:
        taken.append(1)
        losses = original(*args, **kwargs)
        # In step 4, at whose end a checkpoint is due.
        return breaks(losses) if len(taken) == 4 else losses

    monkeypatch.setattr(step, "detection_loss", breaking)
    with pytest.raises(TrainingStopped) as stopped:
        train(recipe(), tmp_path, False, quiet)
    sentence = str(stopped.value)
    assert "step 4" in sentence
    assert reason in sentence
    # A drawn picture's name is its seed and size.
    assert "(96, 128)" in sentence
    last = load_checkpoint(tmp_path / "last.pt")
    assert last.step == 2
    assert all(value.isfinite().all() for value in last.training["model"].values())


def test_best_weights_are_kept_by_ap_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(validation, "detect_records", lambda *args, **kwargs: {1: None})
    monkeypatch.setattr(
        validation, "coco_metrics", lambda *args: {"AP": next(figures), "AP50": 0.5, "classes": {}}
    )
    rule = recipe(data={"train": [DRAWN], "val": {**DRAWN, "count": 1, "seed": 50}})
    best = train(rule, tmp_path, False, quiet)
    assert (best.step, best.metrics["val"]["AP"]) == (4, 0.3)
    assert best.training == {}
    assert load_checkpoint(tmp_path / "last.pt").training["best_ap"] == 0.3
    assert [entry["val"]["AP"] for entry in log(tmp_path) if "val" in entry] == [0.1, 0.3, 0.2]


def test_val_is_evaluated_and_reported(tmp_path: Path) -> None:
    said: list[str] = []
    rule = recipe({"steps": 1}, data={"train": [DRAWN], "val": {**DRAWN, "count": 1}})
    best = train(rule, tmp_path, False, said.append)
    assert set(best.metrics["val"]["classes"]) == {"Platelets", "RBC", "WBC"}
    assert any(sentence.startswith("step 1: AP ") for sentence in said)


def test_val_without_boxes_does_not_end_the_run(tmp_path: Path) -> None:
    source = coco_with(tmp_path, [])
    rule = recipe({"steps": 1}, data={"train": [source], "val": source})
    best = train(rule, tmp_path / "out", False, quiet)
    assert best.step == 1


def test_dropped_boxes_are_reported(tmp_path: Path) -> None:
    said: list[str] = []
    source = coco_with(tmp_path, [[5, 5, 0, 9], [10, 10, 40, 40]])
    train(recipe({"steps": 1}, data={"train": [source]}), tmp_path / "out", False, said.append)
    assert [s for s in said if s.startswith("dropped: ") and "cat box" in s]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_broken_picture_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    source = coco_with(tmp_path, [[10, 10, 40, 40]])
    (tmp_path / "images" / "a.png").write_bytes(b"not a picture")
    rule = recipe({"steps": 1, "workers": workers}, data={"train": [source]})
    with pytest.raises(
        InputError, match=r"^/.*a\.png: not a picture that can be decoded"
    ) as caught:
        train(rule, tmp_path / "out", False, quiet)
    assert "\n" not in str(caught.value)


def test_bfloat16_run_has_float32_weights_and_finite_losses(tmp_path: Path) -> None:
    found = train(recipe({"steps": 1, "precision": "bf16"}), tmp_path, False, quiet)
    assert all(value.dtype == torch.float32 for value in found.state.values())
    assert all(entry["class_loss"] < 10 for entry in log(tmp_path))


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (0, 2):
        train(recipe({"steps": 3, "workers": workers}), tmp_path / str(workers), False, quiet)
    assert log(tmp_path / "0") == log(tmp_path / "2")
