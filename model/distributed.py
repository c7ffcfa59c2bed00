"""The place of a process among those that train together; alone it is number 0 of 1.

`torchrun` starts the processes and tells each its place in its environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from model.errors import InputError

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: rank 0 alone computes the metrics and writes files."""

T = TypeVar("T")


class EndedElsewhere(Exception):
    """Another process met an InputError and tells it."""


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def own_device(name: str) -> str:
    """The device of this process: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.

    Among several processes of a machine each gets its own GPU. InputError for any other name, and
    for a device that isn't there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    elif started_together() and name.startswith("cuda:"):
        raise InputError(f"device {name!r}: with several processes write cuda; each gets its own")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"device {name!r}: accepted are auto, cpu, cuda and cuda:N ({reason})"
        ) from None
    return name


@contextmanager
def processes(device: str) -> Iterator[None]:
    """Joins the processes that torchrun started with this one; alone, does nothing.

    Tensors on a GPU are exchanged through nccl, all else through gloo.
    """
    if not started_together():
        yield
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    yield
    # Not after an error: leaving the group would wait for processes that go on.
    dist.destroy_process_group()


def started_together() -> bool:
    """Whether torchrun started this process with others, joined already or not."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def sum_across(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; every one of them must ask. No gradient flows."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def gather(value: T) -> list[T]:
    """Every process's value, in the order of ranks; every one of them must ask."""
    if world_size() == 1:
        return [value]
    values: list[T] = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def of_first(value: T) -> T:
    """The value that the process of rank 0 has; every one of them must ask."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors with those of rank 0, in place; every process must ask."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


@contextmanager
def agreed() -> Iterator[None]:
    """What is done inside, without any exchange, succeeds in all processes or fails in all.

    The first process with an InputError raises it, the others raise EndedElsewhere: none is left
    waiting for one that has ended.
    """
    error = None
    try:
        yield
    except InputError as caught:
        error = caught
    failed = gather(error is not None)
    if any(failed):
        if error and failed.index(True) == rank():
            raise error
        raise EndedElsewhere
