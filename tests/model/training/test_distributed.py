"""Processes that train together do what one alone does, and end together."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import load_checkpoint
from model.criterion import Losses, detection_loss
from model.distributed import (
    EndedElsewhere,
    copy_from_first,
    gather,
    of_first,
    rank,
    sum_across,
)
from model.errors import InputError
from model.training import step
from model.training.ends import Interrupted, TrainingStopped
from model.training.loop import train
from tests.model.training.joined import together
from tests.model.training.tiny_run import DRAWN, assert_same, coco_with, log, quiet, recipe

TOLERANCES = {"class_loss": 1e-5, "box_loss": 1e-5, "gradient_norm": 1e-3}
"""Sums are taken in another order, and a ReLU at 0 may let a gradient pass in one run alone."""


def trained(raw: dict[str, Any], out: Path, resume: bool = False) -> int:
    """Trains and returns the step of the best weights."""
    return train(recipe(**raw), out, resume, quiet).step


def assert_same_losses(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Equality up to the order of sums; a run's first losses and last metrics included."""
    assert [entry["step"] for entry in one] == [entry["step"] for entry in other]
    for a, b in zip(one, other, strict=True):
        if "val" in a:
            assert a["val"] == b["val"]
            continue
        assert a["positives"] == b["positives"]
        for name, tolerance in TOLERANCES.items():
            assert a[name] == pytest.approx(b[name], rel=tolerance), name


def exchanged() -> tuple[Any, ...]:
    own = torch.full((2,), float(rank() + 1))
    total = sum_across(own).tolist()
    copy_from_first([own])
    return total, own.tolist(), gather(rank()), of_first(rank())


def test_values_are_summed_gathered_and_taken_from_the_first() -> None:
    assert together(2, exchanged) == [([3.0, 3.0], [1.0, 1.0], [0, 1], 0)] * 2


def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    raw = {
        "train": {"steps": 4, "batch_size": 4, "evaluate_every": 4},
        "data": {"train": [DRAWN], "val": {**DRAWN, "seed": 9}},
        "optimizer": {"lr": 0.01, "lr_for": 16, "warmup_steps": 2, "clip_norm": 5.0},
    }
    trained(raw, tmp_path / "one")
    # Both get the best weights, which one of them wrote.
    assert together(2, trained, raw, tmp_path / "two") == [4, 4]
    assert_same_losses(log(tmp_path / "one"), log(tmp_path / "two"))


def test_process_without_any_box_does_not_hang(tmp_path: Path) -> None:
    # Two pictures, one of them empty: each process is the empty one now and then.
    source = coco_with(tmp_path, [[10, 10, 40, 40]], pictures=2)
    raw = {"data": {"train": [source]}, "train": {"steps": 4}}
    trained(raw, tmp_path / "one")
    assert together(2, trained, raw, tmp_path / "two") == [4, 4]
    assert_same_losses(log(tmp_path / "one"), log(tmp_path / "two"))


def signalled(raw: dict[str, Any], out: Path) -> int:
    """As `trained`, but SIGTERM reaches the second process during the second step."""
    if rank() == 1:
        original = detection_loss
        taken: list[int] = []

        def signalling(*args: Any) -> Losses:
            taken.append(1)
            if len(taken) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*args)

        step.detection_loss = signalling
    return trained(raw, out)


@pytest.mark.slow
def test_signal_to_one_stops_all_and_resuming_is_exact(tmp_path: Path) -> None:
    raw = {"train": {"steps": 4, "checkpoint_every": 4}}
    together(2, trained, raw, tmp_path / "whole")
    stops = together(2, signalled, raw, tmp_path / "cut")
    assert [type(stop) for stop in stops] == [Interrupted, Interrupted]
    assert [str(stop) for stop in stops] == ["stopped by SIGTERM after step 2"] * 2
    assert load_checkpoint(tmp_path / "cut" / "last.pt").step == 2
    together(2, trained, raw, tmp_path / "cut", True)
    whole, cut = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    assert_same(whole.state, cut.state)
    assert_same(whole.training, cut.training)
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def broken(raw: dict[str, Any], out: Path) -> int:
    """As `trained`, but the second process's second loss is NaN."""
    if rank() == 1:
        original = detection_loss
        taken: list[int] = []

        def breaking(*args: Any) -> Losses:
            taken.append(1)
            losses = original(*args)
            return (
                losses._replace(classes=losses.classes * torch.nan) if len(taken) == 2 else losses
            )

        step.detection_loss = breaking
    return trained(raw, out)


@pytest.mark.slow
def test_nan_in_one_stops_all_and_names_its_images(tmp_path: Path) -> None:
    source = coco_with(tmp_path, [[10, 10, 40, 40]], pictures=2)
    raw = {"data": {"train": [source]}, "train": {"steps": 4, "checkpoint_every": 1}}
    stops = together(2, broken, raw, tmp_path / "out")
    assert [type(stop) for stop in stops] == [TrainingStopped, TrainingStopped]
    (sentence,) = {str(stop) for stop in stops}
    assert sentence.startswith("step 2: class loss nan")
    assert sentence.endswith("last.pt holds step 1")
    # One of the two pictures was the second process's.
    assert sentence.count(".png") == 1
    last = load_checkpoint(tmp_path / "out" / "last.pt")
    assert last.step == 1
    assert all(value.isfinite().all() for value in last.training["model"].values())


@pytest.mark.slow
def test_unreadable_picture_of_one_ends_all(tmp_path: Path) -> None:
    source = coco_with(tmp_path, [[10, 10, 40, 40]], pictures=2)
    Path(source["images"], "b.png").write_bytes(b"not a picture")
    raw = {"data": {"train": [source]}, "train": {"steps": 4}}
    ends = together(2, trained, raw, tmp_path / "out")
    assert {type(end) for end in ends} == {InputError, EndedElsewhere}
    assert any("b.png: not a picture that can be decoded" in str(end) for end in ends)


def test_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    first, second = together(2, trained, {"train": {"batch_size": 3}}, tmp_path / "out")
    assert "train.batch_size 3" in str(first)
    assert "must be a multiple of their number, 2" in str(first)
    assert isinstance(second, EndedElsewhere)
