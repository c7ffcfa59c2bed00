"""Runs one load against a server, and keeps the part of it that counts."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from loadtest.protocols.protocol import Call, DetectorProtocol, Picture
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.cores import Cores
from loadtest.traffic.loops import START_S, closed_loop, open_loop
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Blind, Enough, Load, Trial, Watch

LOOK_EVERY_S = 0.5
"""How often a run that may end early is looked at."""

NEVER = 1_000_000_000


class Runner:
    """Sends pictures to a server as loads say, one load at a time, until it is stopped."""

    def __init__(
        self,
        protocol: DetectorProtocol,
        pictures: Sequence[Picture],
        watch: Watch | None = None,
    ) -> None:
        self._protocol, self._pictures = protocol, pictures
        self._watch: Watch = watch or Blind()
        self._counting: Counting | None = None
        self.stopped = False

    def stop(self) -> None:
        """Sends no more; what is under way is waited for. To be called in the event loop."""
        self.stopped = True
        if self._counting:
            self._counting.end()

    async def run(
        self, load: Load, scale: int | None = None, enough: Enough | None = None
    ) -> Trial:
        """What became of a load. Pictures take turns.

        With `enough` the run ends as soon as it says so; `load.seconds` are then the most.
        """
        self._protocol.prepare(self._pictures, scale)
        self._watch.begin(title_of(load, scale), load)
        async with open_client(load.timeout_s, self._protocol) as client:
            with short_collections():
                return await self._counted(client, load, scale, enough)

    async def _counted(
        self, client: Client, load: Load, scale: int | None, enough: Enough | None
    ) -> Trial:
        self._counting = counting = Counting(client, load)
        if self.stopped:
            counting.end()
        looking = asyncio.create_task(_look(counting, enough)) if enough else None
        try:
            samples = await self._send(client, load, scale, counting)
        finally:
            if looking:
                looking.cancel()
        return counting.trial(samples, scale)

    async def _send(
        self, client: Client, load: Load, scale: int | None, counting: Counting
    ) -> list[Sample]:
        def call_of(number: int) -> Call:
            self._watch.sent()
            return self._call(number, scale)

        def tell(sample: Sample) -> None:
            self._watch.tell(sample)
            counting.tell(sample)

        whole_s, over = load.warm_up_s + load.seconds, counting.over
        if load.rate is not None:
            times = arrivals(load.rate, whole_s, load.process, load.seed)
            return await open_loop(client, times, call_of, tell, over, counting.start)
        return await closed_loop(client, load.callers or 1, whole_s, call_of, tell, over)

    def _call(self, number: int, scale: int | None) -> Call:
        return self._protocol.call(number, self._pictures[number % len(self._pictures)], scale)


class Counting:
    """Tells the counted seconds from the warm-up, and takes the client's CPU time in them."""

    def __init__(self, client: Client, load: Load) -> None:
        self._client, self._load = client, load
        self.start = client.now() + (START_S if load.rate is not None else 0.0)
        """When the run begins, on the client's clock."""
        self._zero = self.start + load.warm_up_s
        self._last = self._zero + load.seconds
        self.over = threading.Event()
        """Set where the run is to end early."""
        self.ended: list[Sample] = []
        """Counted requests, in the order of ending."""
        self._carried: list[float] = []
        self._cores = Cores(client.now)
        loop = asyncio.get_running_loop()
        loop.call_later(self._zero - client.now(), self._cores.begin)
        loop.call_later(self._last - client.now(), self._cores.end)

    def end(self) -> None:
        """The run ends now, unless it has."""
        if not self.over.is_set():
            self._last = min(self._last, self._client.now())
            self._cores.end()
        self.over.set()

    def tell(self, sample: Sample) -> None:
        """A request has ended."""
        if sample.intended >= self._zero:
            self.ended.append(sample)
        elif sample.ended >= self._zero and sample.outcome is Outcome.OK:
            self._carried.append(sample.ended)

    def trial(self, samples: Sequence[Sample], scale: int | None) -> Trial:
        """The trial of a run that is over now. The samples' times begin at its first second."""
        self._cores.end()
        counted = [sample for sample in samples if sample.intended >= self._zero]
        return Trial(
            replace(self._load, seconds=max(0.0, self._last - self._zero)),
            since(self._zero, counted),
            self._cores.value,
            scale,
            carried=sum(ended <= self._last for ended in self._carried),
        )


async def _look(counting: Counting, enough: Enough) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if counting.ended and enough(counting.ended):
            counting.end()
            return


@contextmanager
def short_collections() -> Iterator[None]:
    """Python's garbage collector never looks at everything meanwhile, which stops the clock.

    It stays on for what is new: each failed connection leaves a cycle of 12 kB.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(thresholds[0], thresholds[1], NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def since(zero: float, samples: Sequence[Sample]) -> list[Sample]:
    """The samples in the order of their intended starts, their times counted from `zero`."""
    for sample in samples:
        sample.intended -= zero
        sample.sent -= zero
        sample.ended -= zero
    return sorted(samples, key=lambda sample: sample.intended)


def title_of(load: Load, scale: int | None) -> str:
    """A run in a few words: `20 requests/s (poisson), scale 480`."""
    what = (
        f"{load.rate:.4g} requests/s ({load.process})"
        if load.rate is not None
        else f"{load.callers} callers, each after its answer"
    )
    return what + (f", scale {scale}" if scale else "")
