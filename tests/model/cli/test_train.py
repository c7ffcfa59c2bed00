"""`retinaserve train`: exit codes and what it says where."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import Checkpoint
from model.cli import train as command
from model.distributed import EndedElsewhere
from model.errors import InputError
from model.retinanet import Architecture
from model.training.ends import Interrupted, TrainingStopped

RECIPE = 'name = "tiny"\n[[data.train]]\nformat = "drawn"\ncount = 1\n'


def arguments(tmp_path: Path, *more: str) -> argparse.Namespace:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args([str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), *more])


def trained(ap: float | None) -> Checkpoint:
    metrics = {} if ap is None else {"val": {"AP": ap}}
    return Checkpoint(Architecture(1, "mobilenet_v2"), ("cat",), {}, metrics=metrics)


def ending(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def stop(*args: Any) -> Checkpoint:
        raise error

    monkeypatch.setattr(command, "train", stop)


def test_options_reach_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def fake(*args: Any) -> Checkpoint:
        seen.extend(args)
        return trained(None)

    monkeypatch.setattr(command, "train", fake)
    sets = ("--set", "train.steps=3", "--set", "train.seed=4", "--resume", "--device", "cpu")
    assert command.run(arguments(tmp_path, *sets)) == 0
    recipe, out, resume, _, device = seen
    assert (recipe.train.steps, recipe.train.seed) == (3, 4)
    assert (out, resume, device) == (tmp_path / "out", True, "cpu")


@pytest.mark.parametrize(
    ("ap", "end"), [(0.5, "AP 0.5 on val)"), (0.0, "AP 0.0 on val)"), (None, "out")]
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
    assert capsys.readouterr().out.strip().endswith(end)


def test_result_stands_beside_what_the_recipe_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "train", lambda *args: trained(0.352))
    expects = ("--set", 'expect={source = "Table 1e", AP = 35.7}')
    assert command.run(arguments(tmp_path, *expects)) == 0
    assert "AP 0.352 on val; Table 1e reports 35.7 points)" in capsys.readouterr().out


def test_stopped_run_says_why_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, TrainingStopped("step 3: class loss nan"))
    assert command.run(arguments(tmp_path)) == 1
    captured = capsys.readouterr()
    assert captured.err == "retinaserve train: stopped: step 3: class loss nan\n"
    assert captured.out == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_says_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    ending(monkeypatch, Interrupted(number, 7))
    assert command.run(arguments(tmp_path)) == code
    assert capsys.readouterr().err == (
        f"retinaserve train: stopped by {number.name} after step 7; to go on run the same command "
        "with --resume\n"
    )


def test_process_that_ended_for_another_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, EndedElsewhere())
    assert command.run(arguments(tmp_path)) == 1
    assert capsys.readouterr() == ("", "")


def test_dry_run_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(command, "dry_run", lambda *args: seen.extend(args))
    ending(monkeypatch, AssertionError("trained"))
    assert command.run(arguments(tmp_path, "--dry-run")) == 0
    recipe, out, _, device = seen
    assert (recipe.name, out) == ("tiny", tmp_path / "out")
    assert device in ("cpu", "cuda:0")


def test_dry_run_of_several_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="--dry-run is for one process"):
        command.run(arguments(tmp_path, "--dry-run", "--device", "cpu"))


def test_missing_out_is_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    args.out = None
    with pytest.raises(InputError, match="--out is missing"):
        command.run(args)


SMALL = (
    "--set=model.backbone=mobilenet_v2",
    "--set=model.head_width=8",
    "--set=model.head_depth=0",
    "--set=data.train.0.size=[64, 96]",
    "--set=train.scale=64",
    "--set=train.steps=2",
    "--set=train.batch_size=2",
    "--set=train.workers=1",
)


@pytest.mark.slow
def test_torchrun_starts_processes_that_train_together(tmp_path: Path) -> None:
    arguments(tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    verb = ["-m", "retinaserve", "train", str(tmp_path / "tiny.toml"), f"--out={tmp_path / 'out'}"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=2", *verb, "--device=cpu", *SMALL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in 2 processes") == 1
    assert done.stdout.count("done: ") == 1
    lines = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2
