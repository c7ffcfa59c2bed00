"""Short runs on drawn scenes: exact resume, refusals, stopping on a loss that is not finite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import model.training.loop as loop
from model.checkpoint import load_checkpoint, save_checkpoint
from model.criterion import Losses, detection_loss
from model.errors import InputError
from model.recipe import Recipe, parse_recipe
from model.training.loop import TrainingStopped, train

DRAWN = {"format": "drawn", "count": 3, "seed": 1, "size": [96, 128]}


def recipe(train: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    """A tiny network on three drawn scenes, every kind of random change on."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "model": {"backbone": "mobilenet_v2", "head_width": 16, "head_depth": 1},
        "data": {"train": [DRAWN]},
        "augment": {
            "flips": ["horizontal", "transpose"],
            "scale_jitter": [0.8, 1.2],
            "colour": 0.3,
        },
        "optimizer": {"name": "adamw", "lr": 1e-3, "warmup_steps": 2, "schedule": "cosine"},
        "train": {
            "steps": 6,
            "batch_size": 2,
            "scale": 96,
            "canvas": "96x128",
            "workers": 0,
            "checkpoint_every": 2,
            "evaluate_every": 2,
            "ema_decay": 0.9,
            **(train or {}),
        },
    }
    return parse_recipe({**raw, **sections}, "test")


def quiet(sentence: str) -> None:
    """Where tests don't look at what a run says."""


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int, how: type[BaseException]) -> None:
    """Makes the run die in the middle of the step after `steps`."""
    original = detection_loss
    taken: list[int] = []

    def dying(*args: Any, **kwargs: Any) -> Losses:
        taken.append(1)
        if len(taken) > steps:
            raise how
        return original(*args, **kwargs)

    monkeypatch.setattr(loop, "detection_loss", dying)


def flat(value: Any) -> list[Any]:
    """Every leaf of nested dicts and lists."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [leaf for entry in value for leaf in flat(entry)]
    return [value]


def assert_same(one: Any, other: Any) -> None:
    """Bitwise equality of two checkpoints' contents."""
    for a, b in zip(flat(one), flat(other), strict=True):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    rule = recipe(optimizer={"name": optimizer, "lr": 1e-3, "warmup_steps": 2, "clip_norm": 5.0})
    train(rule, tmp_path / "whole", False, quiet)
    with monkeypatch.context() as patch:
        # The checkpoint is of step 2, the third step's work is lost.
        stop_after(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            train(rule, tmp_path / "cut", False, quiet)
    said: list[str] = []
    train(rule, tmp_path / "cut", True, said.append)
    assert f"resumed {tmp_path / 'cut' / 'last.pt'} at step 2" in said
    whole, cut = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    assert_same(whole.state, cut.state)
    assert_same(whole.training, cut.training)
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


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


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_folder_that_holds_a_run_is_refused_without_resume(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(InputError, match="already holds a run: add --resume"):
        train(recipe(), tmp_path, False, quiet)
    assert (tmp_path / name).read_bytes() == b"precious"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    out = tmp_path_factory.mktemp("finished")
    train(recipe({"steps": 1}), out, False, quiet)
    return out


def test_resume_with_another_architecture_is_refused(finished: Path) -> None:
    wider = recipe(model={"backbone": "mobilenet_v2", "head_width": 8, "head_depth": 1})
    with pytest.raises(InputError, match="the recipe says otherwise"):
        train(wider, finished, True, quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"batch_size": 1}}, r"train\.batch_size = 2, not 1"),
        ({"train": {"seed": 9}}, r"train\.seed = 0, not 9"),
        ({"loss": {"gamma": 1.0}}, r"loss\.gamma = 2\.0, not 1\.0"),
    ],
)
def test_resume_that_would_be_another_run_is_refused(
    finished: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(recipe(**change), finished, True, quiet)


def test_resume_may_go_on_for_longer(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    out.mkdir()
    (out / "last.pt").write_bytes((finished / "last.pt").read_bytes())
    assert train(recipe({"steps": 2}), out, True, quiet).step == 2


def test_resume_of_a_folder_without_a_run_starts_one(tmp_path: Path) -> None:
    assert train(recipe({"steps": 1}), tmp_path / "new", True, quiet).step == 1


def test_best_weights_cannot_be_resumed(finished: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(finished / "last.pt")
    checkpoint.training = {}
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    with pytest.raises(InputError, match="holds weights alone"):
        train(recipe(), tmp_path, True, quiet)


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

    monkeypatch.setattr(loop, "detection_loss", breaking)
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
    monkeypatch.setattr(loop, "detect_records", lambda *args, **kwargs: {})
    monkeypatch.setattr(
        loop, "coco_metrics", lambda *args: {"AP": next(figures), "AP50": 0.5, "classes": {}}
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


def coco_with(tmp_path: Path, boxes: list[list[float]]) -> dict[str, Any]:
    """A COCO source of one 128x96 picture of cats."""
    Image.new("RGB", (128, 96)).save(tmp_path / "a.png")
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 128, "height": 96}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return {
        "format": "coco",
        "annotations": str(tmp_path / "labels.json"),
        "images": str(tmp_path),
        "bad_boxes": "drop",
    }


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
    (tmp_path / "a.png").write_bytes(b"not a picture")
    rule = recipe({"steps": 1, "workers": workers}, data={"train": [source]})
    with pytest.raises(
        InputError, match=r"^/.*a\.png: not a picture that can be decoded"
    ) as caught:
        train(rule, tmp_path / "out", False, quiet)
    assert "\n" not in str(caught.value)


def test_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device 'abacus': accepted are cpu and cuda:N"):
        train(recipe(), tmp_path, False, quiet, device="abacus")


def test_bfloat16_run_has_float32_weights_and_finite_losses(tmp_path: Path) -> None:
    found = train(recipe({"steps": 1, "precision": "bf16"}), tmp_path, False, quiet)
    assert all(value.dtype == torch.float32 for value in found.state.values())
    assert all(entry["class_loss"] < 10 for entry in log(tmp_path))


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (0, 2):
        train(recipe({"steps": 3, "workers": workers}), tmp_path / str(workers), False, quiet)
    assert log(tmp_path / "0") == log(tmp_path / "2")
