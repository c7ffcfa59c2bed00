"""How many images a second a recipe's loader gives, with no training behind it.

    python -m model.benchmark.loading recipes/cells.toml --workers 0 1 2

Where a step takes less time than loading its images does, training waits for them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from model.data.loader import PREFETCH, batches
from model.data.samples import SampleStream
from model.errors import InputError
from model.recipe_file import read_recipe
from model.training.setup import open_data


def main(argv: Sequence[str] | None = None) -> int:
    """Prints images a second for each number of workers; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="the recipe, a TOML file")
    parser.add_argument("--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--images", type=int, default=300, help="how many to load (%(default)s)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    say = partial(print, flush=True)
    try:
        recipe = read_recipe(args.recipe, args.overrides)
        train_alone = recipe.data.model_copy(update={"val": None})
        stream = open_data(recipe.model_copy(update={"data": train_alone}), say).stream
        canvases = ", ".join(map(str, stream.canvases))
        say(f"{len(stream.pictures)} pictures, scale {stream.scale} on {canvases}")
        for workers in args.workers:
            rate, cpu_ms = measured(stream, recipe.train.batch_size, workers, args.images)
            say(f"workers {workers}: {rate:.1f} images/s, {cpu_ms:.1f} ms of CPU each")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def measured(
    stream: SampleStream, batch_size: int, workers: int, images: int
) -> tuple[float, float]:
    """Images a second once all workers are busy, and the processor time of one in milliseconds.

    The first batches, which workers start before they are asked, don't count for the rate, nor do
    as many at the end, when a worker may have nothing left to do. The processor time is that of all
    processes, from their start on.
    """
    ahead = 1 + workers * PREFETCH
    steps = ahead + max(1, round(images / batch_size)) + ahead
    used_s = _cpu_s()
    loaded = batches(stream, 0, steps, batch_size, workers)
    arrivals_s = [time.perf_counter() for _ in loaded]
    timed = arrivals_s[ahead - 1 : steps - ahead]
    rate = (len(timed) - 1) * batch_size / (timed[-1] - timed[0])
    return rate, 1e3 * (_cpu_s() - used_s) / (steps * batch_size)


def _cpu_s() -> float:
    """Processor time of this process and of those of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    sys.exit(main())
