"""Runs traffic: an open loop keeps its times whatever the server does, a closed one waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from loadtest.traffic.client import Call, Client
from loadtest.traffic.pacer import Pacer
from loadtest.traffic.sample import Sample

Tell = Callable[[Sample], object]
"""Is told of each request as it ends."""

START_S = 0.05
"""What the first arrival is put off by, so that it does not begin late."""


async def open_loop(
    client: Client,
    times: Iterable[float],
    call_of: Callable[[int], Call],
    tell: Tell = lambda _: None,
) -> list[Sample]:
    """The samples of calls that start at `times` (seconds, ascending), in the order of starting.

    No call waits for another, so a server that stalls is charged for everybody who came meanwhile.
    """
    origin = client.now() + START_S
    tasks: list[asyncio.Task[Sample]] = []

    def ended(task: asyncio.Task[Sample]) -> None:
        if not task.cancelled():
            tell(task.result())

    async with asyncio.TaskGroup() as group:

        def start(number: int, intended: float) -> None:
            task = group.create_task(client.send(call_of(number), intended))
            task.add_done_callback(ended)
            tasks.append(task)

        await Pacer((origin + time for time in times), client.now, start).run()
    return [task.result() for task in tasks]


async def closed_loop(
    client: Client,
    callers: int,
    seconds: float,
    call_of: Callable[[int], Call],
    tell: Tell = lambda _: None,
) -> list[Sample]:
    """The samples of `callers` that send one call after the other for so long.

    Who waits for an answer sends nothing meanwhile: latencies are those of a server that is never
    asked more than it can do, and not those that independent callers would see.
    """
    samples: list[Sample] = []
    end = client.now() + seconds

    async def caller(first: int) -> None:
        number = first
        while (now := client.now()) < end:
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
