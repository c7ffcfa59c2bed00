"""One step: precisions, overflow, compiled networks, canvases, what happens when memory ends."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from model.checkpoint import load_checkpoint
from model.criterion import Losses, detection_loss
from model.errors import InputError
from model.training import setup, step
from model.training.ends import TrainingStopped
from model.training.loop import train
from tests.model.training.tiny_run import DRAWN, assert_same, log, quiet, recipe

SMALL = {"scale": 64, "canvas": "64x96"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The log of two steps in float32."""
    out = tmp_path_factory.mktemp("fp32")
    train(recipe({**SMALL, "steps": 2}), out, False, quiet)
    return log(out)


@pytest.fixture
def _low_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts fp16 at 2^8: from torch's 2^16 the first steps of a run may overflow on their own."""
    monkeypatch.setattr(setup, "GradScaler", partial(GradScaler, init_scale=2.0**8))


@pytest.mark.usefixtures("_low_scale")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_has_float32_weights_and_about_the_same_losses(
    reference: list[dict[str, Any]], tmp_path: Path, precision: str
) -> None:
    found = train(recipe({**SMALL, "steps": 2, "precision": precision}), tmp_path, False, quiet)
    assert all(value.dtype == torch.float32 for value in found.state.values())
    for entry, expected in zip(log(tmp_path), reference, strict=True):
        for name in ("class_loss", "box_loss", "gradient_norm"):
            # bfloat16 has 8 bits of mantissa.
            assert entry[name] == pytest.approx(expected[name], rel=0.05), name


def overflowing(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Makes the losses of some steps, from 1, so large that their scaled gradients overflow."""
    taken: list[int] = []

    def large(*args: Any) -> Losses:
        taken.append(1)
        losses = detection_loss(*args)
        factor = 1e37 if first <= len(taken) <= last else 1.0
        return losses._replace(classes=losses.classes * factor)

    monkeypatch.setattr(step, "detection_loss", large)


@pytest.mark.usefixtures("_low_scale")
def test_overflow_of_fp16_leaves_its_step_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = recipe({**SMALL, "steps": 3, "precision": "fp16", "checkpoint_every": 1})
    weights = []
    original = step.take_step
    overflowing(monkeypatch, 2, 2)
    monkeypatch.setattr(
        "model.training.loop.take_step",
        lambda run, batch: (
            weights.append(run.model.fpn.p6.weight.detach().clone()),
            original(run, batch),
        )[1],
    )
    train(rule, tmp_path, False, quiet)
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert [entry["gradient_norm"] is None for entry in log(tmp_path)] == [False, True, False]
    assert load_checkpoint(tmp_path / "last.pt").training["scaler"]["scale"] == 2.0**7


@pytest.mark.usefixtures("_low_scale")
def test_overflow_of_fp16_step_after_step_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_SKIPPED", 2)
    overflowing(monkeypatch, 2, 9)
    with pytest.raises(TrainingStopped, match=r"step 4: gradient norm (inf|nan) on .*\(96, 128\)"):
        train(recipe({**SMALL, "precision": "fp16"}), tmp_path, False, quiet)


def test_overflow_of_fp32_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflowing(monkeypatch, 1, 1)
    monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda grads: torch.tensor(torch.inf))
    with pytest.raises(TrainingStopped, match=r"step 1: gradient norm inf .*no checkpoint was due"):
        train(recipe(SMALL), tmp_path, False, quiet)


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_gradient_is_clipped_to_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: float
) -> None:
    norms = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            grads = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(torch.nn.utils.get_total_norm(grads).item())
            super().step(closure)

    monkeypatch.setattr("model.training.optimizer.SGD", Noting)
    rule = recipe({**SMALL, "steps": 1}, optimizer={"lr": 1e-3, "clip_norm": bound})
    train(rule, tmp_path, False, quiet)
    (logged,) = (entry["gradient_norm"] for entry in log(tmp_path))
    assert logged > 1.0
    assert norms == pytest.approx([bound or logged], rel=1e-4)


def test_too_little_memory_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Losses:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step, "detection_loss", full)
    with pytest.raises(InputError, match=r"step 1 does not fit .* cpu: 2 images of 64x96; choose"):
        train(recipe(SMALL), tmp_path, False, quiet)


def test_canvases_of_several_sizes_train_together(tmp_path: Path) -> None:
    sizes = ([64, 128], [128, 64], [96, 96])
    rule = recipe(
        {"scale": 64, "canvas": "auto", "steps": 6, "batch_size": 1},
        data={"train": [{**DRAWN, "count": 1, "size": size} for size in sizes]},
        augment={"flips": ["horizontal"]},
    )
    train(rule, tmp_path, False, quiet)
    assert len(log(tmp_path)) == 6


@pytest.mark.slow
def test_compiled_network_gives_the_same_losses_under_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Captured as for any other backend, then run as it is: a compiler takes minutes.
    original = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: original(self, backend="eager"))
    sizes = ([64, 128], [128, 64])
    data = {"train": [{**DRAWN, "count": 1, "size": size} for size in sizes]}
    ends = []
    for compiled in (False, True):
        change = {"scale": 64, "canvas": "auto", "steps": 4, "batch_size": 1, "compile": compiled}
        ends.append(train(recipe(change, data=data), tmp_path / str(compiled), False, quiet))
    assert_same(ends[0].state, ends[1].state)
