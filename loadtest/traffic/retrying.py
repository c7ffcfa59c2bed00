"""A caller who sends again what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loadtest.protocols.protocol import Call
from loadtest.traffic.loops import Sender
from loadtest.traffic.sample import Outcome, Sample


class Retrying:
    """A sender that sends a call up to `tries` times, with a pause before it tries again.

    `tell` is told of the failures that were followed by another try.
    """

    def __init__(
        self, client: Sender, tries: int, pause_s: float, tell: Callable[[Sample], object]
    ) -> None:
        self._client = client
        self._tries = tries
        self._pause_s = pause_s
        self._tell = tell

    def now(self) -> float:
        """See `Sender`."""
        return self._client.now()

    async def send(self, call: Call, intended: float) -> Sample:
        """What became of the last try; its latency is that of all of them."""
        for _ in range(self._tries - 1):
            sample = await self._client.send(call, intended)
            if sample.outcome is Outcome.OK:
                return sample
            self._tell(sample)
            await asyncio.sleep(self._pause_s)
        return await self._client.send(call, intended)
