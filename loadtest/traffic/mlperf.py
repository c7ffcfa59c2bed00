"""MLPerf's scenarios over HTTP: LoadGen says when, and judges; the client sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from loadtest.protocols.protocol import Call, DetectorProtocol, Picture
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.cores import Cores
from loadtest.traffic.loadgen import NAMES, Plan, Query, Verdict, completed, start_test
from loadtest.traffic.run import short_collections, since
from loadtest.traffic.sample import Sample
from loadtest.traffic.trial import Blind, Load, Trial, Watch

OFFLINE_CALLERS = 32
"""Requests under way at a time: offline, all images are there at once, and a server that is asked
about all at once refuses most of them."""

WARM_UP_CALLS = 8
"""At least; each picture is sent once."""

HASTE = 2.0
"""LoadGen makes a single stream's requests beforehand, by how many it expects, and ends too early
if they don't last: so much faster than the quickest of the warm-up none will be."""


class Mlperf:
    """Sends pictures to a server as LoadGen says, until it is stopped."""

    def __init__(
        self,
        protocol: DetectorProtocol,
        pictures: Sequence[Picture],
        watch: Watch | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._protocol, self._pictures, self._timeout_s = protocol, pictures, timeout_s
        self._watch: Watch = watch or Blind()
        self._room = asyncio.Semaphore(OFFLINE_CALLERS)
        self._samples: list[Sample] = []
        self.stopped = False

    def stop(self) -> None:
        """Sends no more. LoadGen's clock runs on to its end, which nothing can stop."""
        self.stopped = True

    async def run(self, plan: Plan, scale: int | None = None) -> tuple[Trial, Verdict]:
        """What became of the requests, timed by ourselves, and what LoadGen says of them.

        Latency begins when LoadGen hands a request over; offline, where all are handed over at
        once, when one is sent.
        """
        load = load_of(plan, self._timeout_s)
        loop = asyncio.get_running_loop()
        self._protocol.prepare(self._pictures, scale)
        async with open_client(self._timeout_s, self._protocol) as client:
            warm_up = [
                await client.send(self._call(number, scale), client.now())
                for number in range(max(WARM_UP_CALLS, len(self._pictures)))
            ]
            if plan.scenario == "singlestream":
                plan = replace(plan, qps=HASTE / min(sample.latency for sample in warm_up))
            self._watch.begin(f"MLPerf {NAMES[plan.scenario]}", load)
            under_way: set[asyncio.Task[None]] = set()

            def start(queries: Sequence[Query], at: float) -> None:
                for query in queries:
                    task = loop.create_task(self._answer(client, query, plan, at, scale))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)

            def issue(queries: Sequence[Query]) -> None:
                loop.call_soon_threadsafe(start, queries, client.now())

            zero, cores = client.now(), Cores(client.now)
            cores.begin()
            loop.call_later(plan.seconds, cores.end)
            with short_collections():
                verdict = await asyncio.to_thread(start_test, plan, issue)
            cores.end()
        return self._trial(load, zero, cores.value, scale), verdict

    async def _answer(
        self, client: Client, query: Query, plan: Plan, at: float, scale: int | None
    ) -> None:
        try:
            if plan.scenario == "offline":
                async with self._room:
                    await self._send(client, query, client.now(), scale)
            else:
                await self._send(client, query, at, scale)
        finally:
            completed(query)

    async def _send(self, client: Client, query: Query, at: float, scale: int | None) -> None:
        if self.stopped:
            return
        self._watch.sent()
        sample = await client.send(self._call(query.image, scale), at)
        self._samples.append(sample)
        self._watch.tell(sample)

    def _call(self, number: int, scale: int | None) -> Call:
        return self._protocol.call(number, self._pictures[number % len(self._pictures)], scale)

    def _trial(self, load: Load, zero: float, cores: float, scale: int | None) -> Trial:
        samples = sorted(self._samples, key=lambda sample: sample.intended)
        seconds = max((sample.ended for sample in samples), default=zero) - zero
        return Trial(replace(load, seconds=seconds), since(zero, samples), cores, scale)


def load_of(plan: Plan, timeout_s: float) -> Load:
    """The load that a scenario amounts to."""
    callers = {"singlestream": 1, "offline": OFFLINE_CALLERS, "server": None}[plan.scenario]
    rate = plan.qps if plan.scenario == "server" else None
    return Load(rate, callers, "poisson", plan.seconds, 0.0, timeout_s, plan.seed)
