"""The training loop."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path

from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.data.loader import batches
from model.distributed import agreed, of_first, rank, world_size
from model.errors import InputError
from model.recipe import Recipe
from model.training.advice import advice
from model.training.ends import Interrupted, Signals, noted_signals
from model.training.journal import Journal
from model.training.meter import Meter
from model.training.progress import Progress
from model.training.setup import OpenedData, Say, join_processes, open_data, start_run
from model.training.state import BEST, LAST, Run
from model.training.step import take_step
from model.training.validation import evaluate


def train(recipe: Recipe, out: Path, resume: bool, say: Say, device: str = "cpu") -> Checkpoint:
    """Trains by the recipe into `out` and returns the best checkpoint (by AP on val, else last).

    Writes `last.pt` (resumable), `best.pt` and the log. The same recipe and seed give the same run;
    a resumed run goes on exactly as if it had never stopped.
    Of several processes, inside `model.distributed.processes`, each calls this and gets the same;
    the first alone reads and writes `out` and says something.
    Raises InputError for bad input, TrainingStopped for a loss that is not finite, Interrupted for
    SIGINT and SIGTERM.
    """
    first = rank() == 0
    say = say if first else _nothing
    with agreed():
        found = _found(out, resume) if first else None
        data = open_data(recipe, say)
    found = of_first(found)
    with agreed():
        run = start_run(recipe, data, say, device, resuming=found is not None)
        if found:
            run.restore(found, out / LAST)
            say(f"resumed {out / LAST} at step {run.step}")
    join_processes(run)
    for sentence in advice(recipe, world_size()):
        say(f"warning: {sentence}")
    rule = recipe.train
    say(
        f"{run.epoch_pictures:g} pictures an epoch, {len(data.classes)} classes, "
        f"steps {run.step}..{rule.steps} of {rule.batch_size} images on canvas {rule.canvas} "
        f"on {device}" + (f" in {world_size()} processes" if world_size() > 1 else "")
    )
    with noted_signals() as signals:
        _loop(run, data, out, signals, say)
    best = of_first(_best(out) if first else None)
    assert best is not None
    return best


def _found(out: Path, resume: bool) -> Checkpoint | None:
    """What the folder holds to go on from."""
    if not resume and any((out / name).exists() for name in (LAST, BEST)):
        raise InputError(
            f"{out} already holds a run: add --resume to go on, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    return load_checkpoint(out / LAST) if (out / LAST).exists() else None


def _best(out: Path) -> Checkpoint:
    return load_checkpoint(out / BEST if (out / BEST).exists() else out / LAST)


def _loop(run: Run, data: OpenedData, out: Path, signals: Signals, say: Say) -> None:
    """Steps, evaluations and checkpoints up to the last step, or until a signal comes."""
    rule = run.recipe.train
    journal = Journal(out, run.step, run.evaluated) if rank() == 0 else None
    meter = Meter(rule.batch_size)
    loaded = batches(
        data.stream,
        run.step,
        rule.steps,
        rule.batch_size,
        rule.workers,
        rank(),
        world_size(),
        run.device,
    )
    with (
        closing(loaded),
        closing(journal) if journal else nullcontext(),
        Progress(run.step, rule.steps, meter, say, shown=rank() == 0) as progress,
    ):
        while True:
            ended = run.step >= rule.steps
            if (
                data.val
                and run.evaluated < run.step
                and (ended or run.step % rule.evaluate_every == 0)
            ):
                _evaluate(run, data, out, signals, journal, say)
            stop = signals.anywhere()
            if run.saved < run.step and (ended or stop or run.step % rule.checkpoint_every == 0):
                _save(run, out, journal)
            if stop:
                raise Interrupted(stop, run.step)
            if ended:
                return
            with meter.waiting(), agreed():
                batch = next(loaded)
            with meter.working():
                report = take_step(run, batch)
            if journal:
                pace = meter.pace(1)
                journal.write(
                    run.step,
                    **report._asdict(),
                    images_per_s=round(pace.images_per_s, 3),
                    wait_share=round(pace.wait_share, 4),
                )
            progress.step(run.step, report)


def _save(run: Run, out: Path, journal: Journal | None) -> None:
    """Writes the resumable checkpoint; what leads up to it is in the log by then."""
    if journal:
        journal.flush()
        save_checkpoint(out / LAST, run.checkpoint({}, resumable=True))
    run.saved = run.step


def _evaluate(
    run: Run, data: OpenedData, out: Path, signals: Signals, journal: Journal | None, say: Say
) -> None:
    """Measures the weights on val and keeps them if they are the best so far.

    A signal leaves it undone: the run that goes on from the checkpoint begins with it.
    """
    assert data.val is not None
    checkpoint = evaluate(run, data.val, signals)
    if checkpoint is None:
        return
    run.evaluated = run.step
    if not journal:
        return
    metrics = checkpoint.metrics["val"]
    journal.write(run.step, val=metrics)
    classes = ", ".join(f"{name} {m['AP']}" for name, m in metrics["classes"].items())
    say(f"step {run.step}: AP {metrics['AP']}, AP50 {metrics['AP50']} ({classes})")
    if metrics["AP"] is not None and metrics["AP"] > run.best_ap:
        run.best_ap = metrics["AP"]
        save_checkpoint(out / BEST, checkpoint)


def _nothing(sentence: str) -> None:
    """What all but the first process say."""
