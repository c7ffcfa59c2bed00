"""Runs traffic: an open loop keeps its times whatever the server does, a closed one waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from loadtest.protocols.protocol import Call
from loadtest.traffic.pacer import Pacer
from loadtest.traffic.sample import Sample


class Sender(Protocol):
    """What sends calls: `client.Client`."""

    def now(self) -> float:
        """Seconds on its own clock."""
        ...

    async def send(self, call: Call, intended: float) -> Sample:
        """What became of a call that was meant to start at `intended`; raises nothing."""
        ...


Tell = Callable[[Sample], object]
"""Is told of each request as it ends."""

START_S = 0.05
"""What the first arrival is put off by, so that it does not begin late."""


async def open_loop(
    client: Sender,
    times: Iterable[float],
    call_of: Callable[[int], Call],
    tell: Tell = lambda _: None,
    stopped: threading.Event | None = None,
    origin: float | None = None,
) -> list[Sample]:
    """The samples of calls that start at `times` (seconds, ascending), in the order of starting.

    The zero of `times` is `origin` on the client's clock, or soon. Once `stopped` none is started
    any more; those that are under way are waited for. No call waits for another, so a server that
    stalls is charged for everybody who came meanwhile.
    """
    zero = client.now() + START_S if origin is None else origin
    tasks: list[asyncio.Task[Sample]] = []

    def ended(task: asyncio.Task[Sample]) -> None:
        if not task.cancelled():
            tell(task.result())

    async with asyncio.TaskGroup() as group:

        def start(number: int, intended: float) -> None:
            task = group.create_task(client.send(call_of(number), intended))
            task.add_done_callback(ended)
            tasks.append(task)

        await Pacer((zero + time for time in times), client.now, start, stopped).run()
    return [task.result() for task in tasks]


async def closed_loop(
    client: Sender,
    callers: int,
    seconds: float,
    call_of: Callable[[int], Call],
    tell: Tell = lambda _: None,
    stopped: threading.Event | None = None,
) -> list[Sample]:
    """The samples of `callers` that send one call after the other for so long, or until `stopped`.

    Who waits for an answer sends nothing meanwhile: latencies are those of a server that is never
    asked more than it can do, and not those that independent callers would see.
    """
    samples: list[Sample] = []
    end = client.now() + seconds

    async def caller(first: int) -> None:
        number = first
        while (now := client.now()) < end and not (stopped and stopped.is_set()):
            sample = await client.send(call_of(number), now)
            samples.append(sample)
            tell(sample)
            number += callers

    await gathered(caller(first) for first in range(callers))
    return samples


async def gathered(work: Iterable[Any]) -> None:
    """Waits for all; the first failure cancels the others."""
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
