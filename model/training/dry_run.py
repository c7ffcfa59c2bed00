"""A look at a run before it starts: its data, one real step, what it will take."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.data.records import DataSet
from model.data.samples import Batch, SampleStream
from model.errors import InputError
from model.evaluation.run import detect_records
from model.recipe import Recipe
from model.training.advice import advice
from model.training.ends import TrainingStopped
from model.training.progress import duration
from model.training.setup import Say, join_processes, open_data, start_run
from model.training.state import Run
from model.training.step import StepReport, take_step

PICTURES_READ = 8
"""At most, of each data set, evenly spaced: enough to find a wrong folder, quick for any size."""

PLANNED_STEPS = 200
"""Among these the batch on the largest canvas is looked for."""

MIB = 2**20

Result = TypeVar("Result")


class _Steps(NamedTuple):
    report: StepReport
    step_s: float
    data_s: float


def dry_run(recipe: Recipe, out: Path | None, say: Say, device: str) -> None:
    """Says what the run would do and take; writes nothing.

    Raises InputError for whatever in data, weights or a step would have stopped the run.
    """
    data = open_data(recipe, say)
    for part in (*data.train, data.val) if data.val else data.train:
        _count(part, say)
        _read_some(part)
    run = start_run(recipe, data, say, device)
    join_processes(run)
    weights = sum(p.numel() for p in run.model.parameters())
    trained = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    say(f"model: {weights / 1e6:.2f} million parameters, {trained / 1e6:.2f} of them trained")
    warnings = advice(recipe)
    steps = _two_steps(run, data.stream, say)
    if steps.report.positives == 0:
        warnings.append(
            "no anchor was assigned to any box of the batch: look at the boxes, train.scale and "
            "model.anchors with `retinaserve doctor`"
        )
    total_s = _step_s(steps, recipe) * recipe.train.steps
    if data.val:
        total_s += _evaluations_s(run, data.val, say)
    say(f"the run: {recipe.train.steps} steps, about {duration(total_s)}")
    _check_disk(run, out, say, warnings)
    for sentence in warnings:
        say(f"warning: {sentence}")


def _count(part: DataSet, say: Say) -> None:
    counts = np.zeros(len(part.classes), np.int64)
    for record in part.records:
        counts += np.bincount(record.classes, minlength=len(counts))
    empty = sum(len(record.classes) == 0 for record in part.records)
    named = ", ".join(f"{name} {count}" for name, count in zip(part.classes, counts, strict=True))
    say(
        f"{part.name}: {len(part.records)} pictures, {empty} without boxes, "
        f"{counts.sum()} boxes: {named}"
    )


def _read_some(part: DataSet) -> None:
    for record in part.records[:: -(-len(part.records) // PICTURES_READ) or 1]:
        record.picture()


def _two_steps(run: Run, stream: SampleStream, say: Say) -> _Steps:
    """Two steps on a batch of the largest canvas: the first one also prepares what stays."""
    batch, data_s = _timed(lambda: _largest_batch(run, stream))
    height, width = batch.images.shape[1:3]
    try:
        first, first_s = _timed(lambda: take_step(run, batch))
        report, step_s = _timed(lambda: take_step(run, batch))
    except TrainingStopped as stop:
        raise InputError(str(stop)) from None
    count = len(batch.names)
    say(
        f"one step: {count} images on {height}x{width} in {step_s:.2f} s ({count / step_s:.3g} "
        f"images/s; the first took {first_s:.2f} s), their data {data_s:.2f} s in one process "
        f"({run.recipe.train.workers} workers)"
    )
    say(
        f"class loss {first.class_loss:.3f}, box loss {first.box_loss:.3f}, "
        f"{first.positives / count:.1f} positive anchors an image, peak memory {_peak(run)}"
    )
    return _Steps(report, step_s, data_s)


def _largest_batch(run: Run, stream: SampleStream) -> Batch:
    plan = stream.plan(run.recipe.train.batch_size)
    planned = [plan.batch(step) for step in range(min(PLANNED_STEPS, run.recipe.train.steps))]
    draws = [stream.draws(step, batch) for step, batch in enumerate(planned)]
    return stream[max(draws, key=lambda d: d[0].canvas.height * d[0].canvas.width)]


def _step_s(steps: _Steps, recipe: Recipe) -> float:
    """Seconds from one step to the next: workers load while the step runs."""
    workers = recipe.train.workers
    return max(steps.step_s, steps.data_s / workers) if workers else steps.step_s + steps.data_s


def _evaluations_s(run: Run, val: DataSet, say: Say) -> float:
    """Seconds of all evaluations on val, from that of one picture."""
    rule = run.recipe.train
    checkpoint = run.checkpoint({}, resumable=False)
    _, one_s = _timed(
        lambda: detect_records(
            checkpoint,
            val.records[:1],
            rule.scale,
            autocast=rule.precision == "bf16",
            device=run.device,
        )
    )
    times = -(-rule.steps // rule.evaluate_every)
    all_s = one_s * len(val.records)
    say(f"val: about {duration(all_s)} for {len(val.records)} pictures, {times} times")
    return all_s * times


def _peak(run: Run) -> str:
    if run.device.startswith("cuda"):
        return f"{torch.cuda.max_memory_allocated(run.device) / MIB:.0f} MiB of {run.device}"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"


def _check_disk(run: Run, out: Path | None, say: Say, warnings: list[str]) -> None:
    """Compares the size of the checkpoints with the space that is free."""
    if out is None:
        return
    moments = [value for of_one in run.optimizer.state.values() for value in of_one.values()]
    best = _bytes(run.model.state_dict().values())
    last = best * (2 if run.average else 1) + _bytes(moments)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    sizes = f"last.pt {last / MIB:.0f} MiB, best.pt {best / MIB:.0f} MiB"
    say(f"{out}: {sizes}, {free / MIB:.0f} MiB free")
    if 2 * (last + best) > free:
        warnings.append(f"{place} may run full: {sizes}, each twice while it is written")


def _bytes(values: Iterable[Any]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.monotonic()
    result = work()
    return result, time.monotonic() - start
