"""A run of load while it lasts: what was asked, what became of it so far."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np

from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load

RECENT = 20_000
"""Latencies that percentiles are of, the last ones: a long run's cost no more than a short's."""

HISTORY_S = 120
"""Seconds that are kept one by one."""

PERCENTILES = (50, 90, 99)


class Second:
    """What ended within one second: how many were answered, and the slowest of them, in ms."""

    __slots__ = ("answered", "slowest_ms")

    def __init__(self) -> None:
        self.answered, self.slowest_ms = 0, 0.0


class Progress:
    """Counts a run's requests on the event loop; may be read from another thread.

    `clock`: seconds, monotonic. Requests of the warm-up are counted, their latencies are not.
    """

    def __init__(
        self, title: str, load: Load, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.title, self.load = title, load
        self._clock, self._began = clock, clock()
        self.started = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.reasons: Counter[str] = Counter()
        self._answered = 0
        self._ms: deque[float] = deque(maxlen=RECENT)
        self._seconds: deque[Second] = deque(maxlen=HISTORY_S + 1)
        self._newest = -1

    def sent(self) -> None:
        """A request starts."""
        self.started += 1

    def tell(self, sample: Sample) -> None:
        """A request has ended; its times are seconds since the run began."""
        self.outcomes[sample.outcome] += 1
        if sample.outcome is not Outcome.OK:
            self.reasons[sample.why or sample.outcome.value] += 1
            return
        ms = 1e3 * sample.latency
        second = self._second(self.elapsed)
        second.answered += 1
        second.slowest_ms = max(second.slowest_ms, ms)
        if sample.intended >= self.load.warm_up_s:
            self._ms.append(ms)
        self._answered += sample.ended >= self.load.warm_up_s

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, its warm-up included."""
        return self._clock() - self._began

    @property
    def seconds(self) -> float:
        """How long the run is meant to last, its warm-up included."""
        return self.load.warm_up_s + self.load.seconds

    @property
    def warming_up(self) -> bool:
        """Whether nothing counts yet."""
        return self.elapsed < self.load.warm_up_s

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return self.started - self.outcomes.total()

    @property
    def failed(self) -> int:
        """Requests that ended without an answer to use."""
        return self.outcomes.total() - self.outcomes[Outcome.OK]

    @property
    def rate(self) -> float:
        """Answers a second since the warm-up."""
        counted = self.elapsed - self.load.warm_up_s
        return self._answered / counted if counted > 0 else float("nan")

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p90, p99 and the slowest of the answers so far; nothing before the first."""
        recent = np.array(list(self._ms))  # a copy at once: the event loop goes on adding
        if not len(recent):
            return {}
        values = np.percentile(recent, (*PERCENTILES, 100)).tolist()
        names = [*(f"p{percent}" for percent in PERCENTILES), "slowest"]
        return dict(zip(names, values, strict=True))

    def history(self) -> Sequence[Second]:
        """The last whole seconds, one by one."""
        whole, kept = int(self.elapsed), list(self._seconds)
        silent = [Second() for _ in range(whole - 1 - self._newest)]
        return (kept[:-1] if self._newest == whole else kept + silent)[-HISTORY_S:]

    def _second(self, elapsed: float) -> Second:
        while self._newest < int(elapsed):
            self._newest += 1
            self._seconds.append(Second())
        return self._seconds[-1]
