"""Batches for the training loop, loaded by worker processes ahead of the step that needs them."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from model.criterion import Target
from model.data.records import DataSet
from model.data.samples import Batch, SampleStream, epoch_of
from model.data.sources import Source
from model.errors import InputError
from model.letterbox import Canvas, canvases_of_scale
from model.recipe import Recipe

PREFETCH = 2
"""Batches that each worker holds ready: one more than it needs while the loop takes one."""


def stream_of(recipe: Recipe, parts: Sequence[tuple[Source, DataSet]]) -> SampleStream:
    """The recipe's training samples, from its opened sources; see `SampleStream`."""
    rule = recipe.train
    auto = rule.canvas == "auto"
    canvases = canvases_of_scale(rule.scale) if auto else (Canvas.parse(rule.canvas),)
    pictures = epoch_of(parts, recipe.data.rare_below)
    return SampleStream(pictures, canvases, rule.scale, recipe.augment, rule.seed)


def batches(
    stream: SampleStream,
    first_step: int,
    last_step: int,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: str = "cpu",
) -> Generator[Batch, None, None]:
    """One process's share of every step's batch, from `first_step` to before `last_step`.

    `batch_size`: images of a step over all `world_size` processes; each gets an equal run of them,
    in the order of ranks, so that the shares together are what one process alone would get. The
    batch of a step depends on the stream and the step's number, on nothing that came before.
    `workers`: processes that load; 0 loads in this one. Batches for a CUDA device come in pinned
    memory: copy them with `non_blocking=True`.
    Raises InputError for a picture that can't be read, from a worker too.
    """
    if batch_size % world_size:
        raise ValueError(f"batch_size {batch_size}: accepted are multiples of {world_size}")
    plan = stream.plan(batch_size)
    share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
    steps = range(first_step, last_step)
    loader = DataLoader(
        stream,
        batch_size=None,
        sampler=(stream.draws(step, plan.batch(step))[share] for step in steps),
        collate_fn=_packed,  # type: ignore[arg-type]  # whole batches: there is no list
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=torch.device(device).type == "cuda",
        worker_init_fn=_in_worker,
        # Without one of its own the loader would draw from torch's global random state.
        generator=torch.Generator(),
    )
    try:
        yield from map(_unpacked, loader)
    except InputError as error:
        # One from a worker arrives with the worker's traceback in front of its sentence.
        raise InputError(str(error).strip().split(f"{InputError.__name__}: ")[-1]) from None


class _Packed(NamedTuple):
    """A batch as a worker hands it over: of all its tensors, the images alone stay one.

    A tensor crosses as an open file of its own, at about .5 ms each; arrays cross in one piece.
    """

    images: Tensor
    image_sizes: NDArray[np.int64]
    targets: list[list[NDArray[Any]]]
    names: list[str]


def _packed(batch: Batch) -> _Packed:
    targets = [[part.numpy() for part in target] for target in batch.targets]
    return _Packed(batch.images, batch.image_sizes.numpy(), targets, batch.names)


def _unpacked(packed: _Packed) -> Batch:
    targets = [Target(*map(torch.from_numpy, parts)) for parts in packed.targets]
    return Batch(packed.images, torch.from_numpy(packed.image_sizes), targets, packed.names)


def _in_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # The collector writes to every object that it looks at, and a written page is no longer shared
    # with the parent: each worker would come to hold a copy of all labels.
    gc.freeze()
    # Ctrl-C reaches every process of the terminal, and torchrun or a scheduler sends SIGTERM to all
    # of a job: the loop's process ends its workers itself, after its step. A second SIGTERM counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
