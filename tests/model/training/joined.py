"""Several processes that train together, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

from model.distributed import processes

PATIENCE_S = 240.0
"""Far more than any of it takes on a busy machine: what takes longer hangs."""


def forkserver() -> ForkServerContext:
    """Makes processes that have torch and the loop at once: they are imported once a session."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model.training.loop"])
    return context


def together(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns, or the exception that it raises, in each process."""
    context = forkserver()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ends, started = [], []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_joined, args=(theirs, rank, count, port, work, arguments), daemon=True
        )
        process.start()
        theirs.close()
        ends.append(ours)
        started.append(process)
    try:
        return [end.recv() if end.poll(PATIENCE_S) else TimeoutError("hangs") for end in ends]
    finally:
        for process in started:
            process.kill()
            process.join()


def _joined(
    answer: Connection,
    rank: int,
    count: int,
    port: int,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with processes("cpu"):
        try:
            answer.send(work(*arguments))
        except Exception as error:
            answer.send(error)
