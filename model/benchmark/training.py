"""How many images a second training takes, ours against a plain torchvision-style loop.

    python -m model.benchmark.training recipes/cells.toml

The recipe says network, pictures, canvas and batch. All loops train with SGD on the paper's focal
loss and L1, on the same batches, read before, and take turns. Then the recipe itself, as it stands,
with its loader: how much of the time it waits for data. Weights are random and the learning rate is
next to 0: neither changes the time of a step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.benchmark.plain_loop import PlainLoop
from model.data.loader import PREFETCH, batches
from model.data.samples import Batch
from model.distributed import own_device
from model.errors import InputError
from model.losses.rule import LossRule
from model.machine import cpu_name
from model.matching import Matching
from model.recipe import Recipe
from model.recipe_file import read_recipe
from model.retinanet import Predictions
from model.training.meter import Meter, Pace
from model.training.setup import OpenedData, join_processes, open_data, start_run
from model.training.step import take_step

PHASES = ("forward", "loss", "backward", "optimiser")
RATE = 1e-6
PLAIN = "plain"


class Loop(NamedTuple):
    """A way to train: its step, and the network that the step uses."""

    take_step: Callable[[Batch], object]
    network: nn.Module


def comparable(recipe: Recipe, precision: str) -> Recipe:
    """The recipe with the matching, losses and optimiser that the plain loop has."""
    optimizer = {"name": "sgd", "lr": RATE, "lr_for": None, "clip_norm": 0.0, "warmup_steps": 0}
    train = {"precision": precision, "ema_decay": 0.0, "compile": False}
    return recipe.model_copy(
        update={
            "matching": Matching(),
            "loss": LossRule(box="l1", normaliser="image"),
            "optimizer": recipe.optimizer.model_copy(update=optimizer),
            "train": recipe.train.model_copy(update=train),
        }
    )


def loops(recipe: Recipe, data: OpenedData, device: str) -> dict[str, Loop]:
    """The plain loop and ours in fp32 and bf16, all with the same first weights."""
    made = {}
    for precision in ("fp32", "bf16"):
        rule = comparable(recipe, precision)
        run = start_run(rule, data, print, device, resuming=True)
        if PLAIN not in made:
            plain = PlainLoop(run.model, rule.optimizer, device)
            made[PLAIN] = Loop(plain.take_step, plain.network)
        made[f"ours, {precision}"] = Loop(partial(take_step, run), run.model)
    return made


class Stopwatch:
    """Seconds of each phase of a loop's steps, noted by hooks: alike for any loop.

    `forward`: from the batch to the predictions. `loss`: matching, losses, and their gradient by
    the predictions. `backward`: from there to the last weight's gradient. `optimiser`: what is left
    of the step. On a GPU its own clock is read, for which nothing has to wait, not `clock`.
    """

    def __init__(self, loop: Loop, device: str, clock: Callable[[], float]) -> None:
        self._loop, self._clock = loop, clock
        self._on_gpu = device.startswith("cuda")
        self._moments: dict[str, Any] = {}
        loop.network.register_forward_hook(self._predicted)
        for parameter in loop.network.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    partial(self._note, "backward")
                )

    def step(self, batch: Batch) -> dict[str, float]:
        """Takes a step; seconds of each phase."""
        self._moments = {}
        self._note("start")
        self._loop.take_step(batch)
        self._note("optimiser")
        if self._on_gpu:
            torch.cuda.synchronize()
        marks = [self._moments[name] for name in ("start", *PHASES)]
        return dict(zip(PHASES, map(self._between_s, marks, marks[1:]), strict=True))

    def _predicted(self, network: nn.Module, args: Any, predictions: Predictions) -> None:
        self._note("forward")
        for tensor in (*predictions.logits, *predictions.deltas):
            tensor.register_hook(self._graded)  # type: ignore[no-untyped-call]

    def _graded(self, gradient: Tensor) -> None:
        if "loss" not in self._moments:
            self._note("loss")

    def _note(self, phase: str, *_: object) -> None:
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._moments[phase] = event
        else:
            self._moments[phase] = self._clock()

    def _between_s(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end) / 1e3 if self._on_gpu else end - start)


def measured(
    watches: dict[str, Stopwatch], held: Sequence[Batch], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Of each loop and round the mean seconds of a step's phases; a round of one step comes before
    and does not count.
    """
    for watch in watches.values():
        watch.step(held[0])
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in watches}
    for _ in range(rounds):
        for name, watch in watches.items():
            steps = [watch.step(batch) for batch in held]
            rows[name].append({p: statistics.mean(s[p] for s in steps) for p in PHASES})
    return rows


def with_loader(recipe: Recipe, data: OpenedData, device: str, steps: int) -> Pace:
    """The pace of the recipe as it stands, loading included, over its last `steps`.

    The first batches, which workers start before they are asked, don't count; as many at the end,
    when a worker may have nothing left to do, are not trained on.
    """
    optimizer = recipe.optimizer.model_copy(update={"lr": RATE, "lr_for": None})
    slow = recipe.model_copy(update={"optimizer": optimizer})
    run = start_run(slow, data, print, device, resuming=True)
    join_processes(run)
    size, workers = recipe.train.batch_size, recipe.train.workers
    ahead = 1 + workers * PREFETCH
    meter = Meter(size)
    loaded = batches(data.stream, 0, ahead + steps + ahead, size, workers, device=device)
    with closing(loaded):
        for _ in range(ahead + steps):
            with meter.waiting():
                batch = next(loaded)
            with meter.working():
                take_step(run, batch)
    return meter.pace(steps)


def report(rows: dict[str, list[dict[str, float]]], batch_size: int) -> Iterator[str]:
    """The table: medians over the rounds, the ratios of each round with their range."""
    totals = {name: [sum(row.values()) for row in of_one] for name, of_one in rows.items()}
    phases = "".join(f"{phase:>11}" for phase in PHASES)
    yield f"{'':12}{'images/s':>9}{'against plain':>22}{phases}  ms"
    for name, of_one in rows.items():
        rate = batch_size / statistics.median(totals[name])
        ratios = [plain / own for plain, own in zip(totals[PLAIN], totals[name], strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        phases = "".join(
            f"{1e3 * statistics.median(row[phase] for row in of_one):11.0f}" for phase in PHASES
        )
        yield f"{name:12}{rate:9.2f}{ratio:>22}{phases}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="the recipe, a TOML file")
    parser.add_argument("--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument("--steps", type=int, default=2, help="of each loop in a round: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="time of all threads together instead of the clock's, which other work changes less; "
        "start it with OMP_WAIT_POLICY=passive",
    )
    args = parser.parse_args(argv)
    say = partial(print, flush=True)
    try:
        recipe = read_recipe(args.recipe, args.overrides)
        device = own_device(args.device)
        train_alone = recipe.data.model_copy(update={"val": None})
        data = open_data(recipe.model_copy(update={"data": train_alone}), say)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    on_gpu = device.startswith("cuda")
    hardware = torch.cuda.get_device_name(device) if on_gpu else cpu_name()
    clock = time.process_time if args.processor_time else time.perf_counter
    say(
        f"{hardware}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    rule = recipe.train
    canvases = ", ".join(map(str, data.stream.canvases))
    say(
        f"{recipe.name}: {recipe.model.backbone}, {len(data.classes)} classes, {rule.batch_size} "
        f"images on {canvases}; medians of {args.rounds} rounds of {args.steps} steps"
    )
    held = list(batches(data.stream, 0, args.steps, rule.batch_size))
    watches = {
        name: Stopwatch(loop, device, clock) for name, loop in loops(recipe, data, device).items()
    }
    for line in report(measured(watches, held, args.rounds), rule.batch_size):
        say(line)
    del watches
    pace = with_loader(recipe, data, device, args.steps * args.rounds)
    say(
        f"the recipe as it stands ({rule.precision}, {recipe.optimizer.name}, {rule.workers} "
        f"workers): {pace.images_per_s:.2f} images/s, {pace.wait_share:.1%} of the time waiting "
        "for data"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
