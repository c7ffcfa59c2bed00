"""`retinaserve train`: exit codes and what it says where."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import Checkpoint
from model.cli import train as command
from model.retinanet import Architecture
from model.training.loop import TrainingStopped

RECIPE = 'name = "tiny"\n[[data.train]]\nformat = "drawn"\ncount = 1\n'


def arguments(tmp_path: Path, *more: str) -> argparse.Namespace:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args([str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), *more])


def trained(ap: float | None) -> Checkpoint:
    metrics = {} if ap is None else {"val": {"AP": ap}}
    return Checkpoint(Architecture(1, "mobilenet_v2"), ("cat",), {}, metrics=metrics)


def test_options_reach_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def fake(*args: Any) -> Checkpoint:
        seen.extend(args)
        return trained(None)

    monkeypatch.setattr(command, "train", fake)
    sets = ("--set", "train.steps=3", "--set", "train.seed=4", "--resume", "--device", "cuda:0")
    assert command.run(arguments(tmp_path, *sets)) == 0
    recipe, out, resume, _, device = seen
    assert (recipe.train.steps, recipe.train.seed) == (3, 4)
    assert (out, resume, device) == (tmp_path / "out", True, "cuda:0")


@pytest.mark.parametrize(
    ("ap", "end"), [(0.5, "AP 0.5 on val"), (0.0, "AP 0.0 on val"), (None, "out")]
)
def test_result_is_on_stdout(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ap: float | None,
    end: str,
) -> None:
    monkeypatch.setattr(command, "train", lambda *args: trained(ap))
    assert command.run(arguments(tmp_path)) == 0
    assert end in capsys.readouterr().out


def test_stopped_run_says_why_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*args: Any) -> Checkpoint:
        raise TrainingStopped("step 3: class loss nan")

    monkeypatch.setattr(command, "train", stop)
    assert command.run(arguments(tmp_path)) == 1
    captured = capsys.readouterr()
    assert captured.err == "retinaserve train: stopped: step 3: class loss nan\n"
    assert captured.out == ""
