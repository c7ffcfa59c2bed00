"""A dry run says what a run would do and take, refuses what would fail, and writes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from model.criterion import Losses, detection_loss
from model.errors import InputError
from model.synthetic.scene import CLASS_NAMES as CLASSES
from model.training import dry_run as module
from model.training import step
from model.training.dry_run import dry_run
from tests.model.training.tiny_run import DRAWN, coco_with, recipe


def said_by(out: Path | None = None, train: dict[str, Any] | None = None, **sections: Any) -> str:
    said: list[str] = []
    small = {"scale": 64, "canvas": "64x96", **(train or {})}
    dry_run(recipe(small, **sections), out, said.append, "cpu")
    return "\n".join(said)


def test_report_covers_data_model_step_and_disk(tmp_path: Path) -> None:
    data = {"train": [DRAWN], "val": {**DRAWN, "count": 2}}
    report = said_by(tmp_path / "deep" / "out", data=data)
    for pattern in (
        r"drawn:1: 3 pictures, 0 without boxes, \d+ boxes: Platelets \d+, RBC \d+, WBC \d+",
        r"model: 1\.\d\d million parameters, 1\.\d\d of them trained",
        r"one step: 2 images on 64x96 in [\d.]+ s \([\d.]+ images/s; .* their data [\d.]+ s",
        r"class loss 1\.\d+, box loss [\d.]+, [\d.]+ positive anchors an image, peak memory \d+",
        r"val: about \d+ s for 2 pictures, 3 times",
        r"the run: 6 steps, about \d+ s",
        r"deep/out: last.pt \d+ MiB, best.pt \d MiB, \d+ MiB free",
    ):
        assert re.search(pattern, report), f"{pattern}\n{report}"
    assert list(tmp_path.iterdir()) == []


def test_step_is_on_the_largest_canvas() -> None:
    sources = [{**DRAWN, "count": 2, "size": size} for size in ([96, 96], [64, 128])]
    train = {"canvas": "auto", "batch_size": 1, "steps": 20}
    report = said_by(train=train, data={"train": sources}, augment={"flips": ["horizontal"]})
    assert "1 images on 64x128" in report


def test_frozen_weights_are_counted() -> None:
    section = {"backbone": "mobilenet_v2", "head_width": 16, "head_depth": 1, "frozen_stages": 5}
    assert "million parameters, 0.08 of them trained" in said_by(model=section)


def test_data_without_boxes_is_warned_of(tmp_path: Path) -> None:
    report = said_by(data={"train": [coco_with(tmp_path, [])]})
    assert "1 pictures, 1 without boxes, 0 boxes: cat 0" in report
    assert "warning: no anchor was assigned to any box" in report


def test_val_without_pictures_is_counted(tmp_path: Path) -> None:
    source = coco_with(tmp_path, [], pictures=0)
    report = said_by(
        data={"train": [{**DRAWN, "count": 1}], "val": source}, classes=[*CLASSES, "cat"]
    )
    assert "labels.json: 0 pictures, 0 without boxes, 0 boxes" in report


def test_full_disk_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2**20

    monkeypatch.setattr(module.shutil, "disk_usage", lambda place: Usage)
    assert f"warning: {tmp_path} may run full" in said_by(tmp_path)


def test_advice_is_given() -> None:
    report = said_by(optimizer={"lr": 0.01})
    assert "warning: optimizer.lr 0.01 for 2 images a step is 8 times" in report


def test_picture_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    source = coco_with(tmp_path, [[10, 10, 40, 40]], pictures=3)
    Path(source["images"], "c.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"c\.png: not a picture"):
        said_by(data={"train": [source]})


def test_loss_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> Losses:
        losses = detection_loss(*args)
        return losses._replace(classes=losses.classes * torch.nan)

    monkeypatch.setattr(step, "detection_loss", broken)
    with pytest.raises(InputError, match="step 1: class loss nan"):
        said_by()
