"""A server under load: the calls of an experiment, and what has to become of them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from loadtest.protocols.protocol import Call
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.loops import Sender, closed_loop, open_loop
from loadtest.traffic.sample import Outcome, Sample
from model.errors import InputError

TIMEOUT_S = 60.0
"""An answer that takes longer is not waited for."""

T = TypeVar("T")


def calls_in_turn(
    url: str, pictures: Sequence[bytes], headers: Mapping[str, str] = {}
) -> Callable[[int], Call]:
    """The call with a number: the pictures in turn."""
    return lambda number: Call(url, pictures[number % len(pictures)], headers)


def checked(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples; InputError unless all were answered."""
    if bad := [sample for sample in samples if sample.outcome is not Outcome.OK]:
        raise InputError(f"{len(bad)} of {len(samples)} requests failed, one by: {bad[0].why}")
    return samples


def failures(samples: Sequence[Sample]) -> Counter[str]:
    """How many were not answered, by reason."""
    return Counter(sample.why for sample in samples if sample.outcome is not Outcome.OK)


async def throughput(
    client: Client, callers: int, seconds: float, call_of: Callable[[int], Call]
) -> float:
    """Answers a second with so many callers; InputError unless all requests are answered."""
    began = client.now()
    samples = await closed_loop(client, callers, seconds, call_of)
    return len(checked(samples)) / (client.now() - began)


async def load_while(
    work: Callable[[Callable[[], float]], T],
    call_of: Callable[[int], Call],
    rate: float,
    timeout_s: float = TIMEOUT_S,
    sender_of: Callable[[Client], Sender] = lambda client: client,
) -> tuple[list[Sample], T]:
    """What became of the requests that came in while `work` was done in a thread, and its result.

    An open loop of `rate` requests a second. `work` is given the clock of the samples' times.
    `sender_of` may put something between the loop and the client.
    """
    over = threading.Event()
    times = arrivals(rate, math.inf, "poisson")
    async with open_client(timeout_s) as client:
        sending = asyncio.create_task(open_loop(sender_of(client), times, call_of, stopped=over))
        try:
            found = await asyncio.to_thread(work, client.now)
        finally:
            over.set()
            samples = await sending
    return samples, found
