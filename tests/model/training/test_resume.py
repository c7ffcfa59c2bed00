"""A run that was killed, stopped or refused goes on as if nothing had happened."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.criterion import Losses, detection_loss
from model.errors import InputError
from model.recipe import Recipe
from model.training import loop, step, validation
from model.training.ends import Interrupted
from model.training.loop import train
from tests.model.training.joined import forkserver
from tests.model.training.tiny_run import DRAWN, assert_same, log, quiet, recipe


def evaluated(**sections: Any) -> Recipe:
    """Six steps; an evaluation after every third, a checkpoint after every second."""
    schedule = {"evaluate_every": 3, "scale": 64, "canvas": "64x96"}
    data = {"train": [DRAWN], "val": {**DRAWN, "count": 2, "seed": 50}}
    return recipe(schedule, data=data, **sections)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never stopped."""
    out = tmp_path_factory.mktemp("whole")
    train(evaluated(), out, False, quiet)
    return out


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        a, b = load_checkpoint(one / name), load_checkpoint(other / name)
        assert_same(vars(a), vars(b))
    assert log(one) == log(other)


def killed(where: str, out: Path) -> None:
    """Trains until kill -9 comes: in the fourth step, while evaluating, while writing."""

    def die(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if where == "step":
        step.detection_loss = nth(4, die, step.detection_loss)
    elif where == "evaluation":
        validation.coco_metrics = die
    elif where == "after best.pt":
        original = loop.save_checkpoint
        loop.save_checkpoint = nth(3, die, original)
    else:

        def half_written(raw: Any, path: Path) -> None:
            content = io.BytesIO()
            whole_save(raw, content)
            path.write_bytes(content.getvalue()[: content.tell() // 2])
            die()

        whole_save = torch.save
        torch.save = nth(3, half_written, whole_save)
    train(evaluated(), out, False, quiet)


def nth(number: int, special: Callable[..., Any], usual: Callable[..., Any]) -> Callable[..., Any]:
    """The usual function, but for one call."""
    calls: list[int] = []

    def function(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return (special if len(calls) == number else usual)(*args, **kwargs)

    return function


@pytest.mark.parametrize(
    "where",
    [
        "step",
        "last.pt",
        pytest.param("evaluation", marks=pytest.mark.slow),
        pytest.param("after best.pt", marks=pytest.mark.slow),
    ],
)
def test_killed_run_goes_on_as_if_it_had_not_been(whole: Path, tmp_path: Path, where: str) -> None:
    out = tmp_path / "out"
    process = forkserver().Process(target=killed, args=(where, out))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    said: list[str] = []
    train(evaluated(), out, True, said.append)
    assert f"resumed {out / 'last.pt'} at step 2" in said
    assert_same_run(whole, out)


def signalled_group(out: Path) -> None:
    """Trains until SIGTERM comes in the fifth step, to the process that loads as well."""
    os.setsid()

    def signalled(*args: Any) -> Losses:
        os.killpg(0, signal.SIGTERM)
        return detection_loss(*args)

    step.detection_loss = nth(5, signalled, detection_loss)
    try:
        train(with_worker(), out, False, quiet)
    except Interrupted as stop:
        sys.exit(stop.number)


def with_worker() -> Recipe:
    schedule = {"evaluate_every": 3, "scale": 64, "canvas": "64x96", "workers": 1}
    return recipe(schedule, data={"train": [DRAWN], "val": {**DRAWN, "count": 2, "seed": 50}})


def test_signal_to_the_whole_job_does_not_kill_the_loading(whole: Path, tmp_path: Path) -> None:
    # As Slurm or torchrun send it.
    process = forkserver().Process(target=signalled_group, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == signal.SIGTERM
    assert load_checkpoint(tmp_path / "last.pt").step == 5
    # Workers are not part of what a run is.
    train(evaluated(), tmp_path, True, quiet)
    assert log(whole) == log(tmp_path)


def test_signal_in_a_step_ends_the_run_after_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def signalled(*args: Any) -> Losses:
        signal.raise_signal(signal.SIGINT)
        return detection_loss(*args)

    with monkeypatch.context() as patch:
        patch.setattr(step, "detection_loss", nth(5, signalled, detection_loss))
        with pytest.raises(Interrupted, match="stopped by SIGINT after step 5"):
            train(evaluated(), tmp_path, False, quiet)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / "last.pt").step == 5
    train(evaluated(), tmp_path, True, quiet)
    assert_same_run(whole, tmp_path)


def test_signal_in_an_evaluation_leaves_it_for_later(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = validation.detect_records

    def signalled(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(validation, "detect_records", signalled)
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 3"):
            train(evaluated(), tmp_path, False, quiet)
    assert not (tmp_path / "best.pt").exists()
    train(evaluated(), tmp_path, True, quiet)
    assert_same_run(whole, tmp_path)


def test_momentum_of_sgd_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = recipe(optimizer={"name": "sgd", "lr": 1e-3, "warmup_steps": 2, "clip_norm": 5.0})
    train(rule, tmp_path / "whole", False, quiet)

    def dying(*_: Any) -> Losses:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, "detection_loss", nth(4, dying, detection_loss))
        with pytest.raises(KeyboardInterrupt):
            train(rule, tmp_path / "cut", False, quiet)
    train(rule, tmp_path / "cut", True, quiet)
    ends = [vars(load_checkpoint(tmp_path / name / "last.pt")) for name in ("whole", "cut")]
    assert_same(*ends)
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def test_statistics_of_a_trained_norm_are_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"backbone": "mobilenet_v2", "head_width": 16, "head_depth": 1, "norm": "trained"}
    rule = recipe({"steps": 4, "scale": 64, "canvas": "64x96"}, model=section)
    train(rule, tmp_path / "whole", False, quiet)

    def signalled(*args: Any) -> Losses:
        signal.raise_signal(signal.SIGTERM)
        return detection_loss(*args)

    with monkeypatch.context() as patch:
        patch.setattr(step, "detection_loss", nth(2, signalled, detection_loss))
        with pytest.raises(Interrupted):
            train(rule, tmp_path / "cut", False, quiet)
    train(rule, tmp_path / "cut", True, quiet)
    whole, cut = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    assert_same(vars(whole), vars(cut))
    (counter, *_) = (key for key in whole.state if key.endswith("num_batches_tracked"))
    assert whole.state[counter] == 4


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


def test_resume_with_other_data_is_refused(finished: Path) -> None:
    more = recipe(data={"train": [{**DRAWN, "count": 4}]})
    with pytest.raises(InputError, match="trained on 3 pictures an epoch, now they are 4"):
        train(more, finished, True, quiet)


def test_resume_needs_no_first_weights(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes((finished / "last.pt").read_bytes())
    section = {"backbone": "mobilenet_v2", "head_width": 16, "head_depth": 1}
    moved = recipe({"steps": 2}, model={**section, "backbone_weights": "gone.pth"})
    assert train(moved, tmp_path, True, quiet).step == 2
