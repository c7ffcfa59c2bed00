"""The search for the highest rate, against queues whose answer is known."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.search import CAPACITY_CALLERS, LATE, PRECISION, Found, Search
from loadtest.traffic.trial import Enough, Load, Trial


class Simulated:
    """A `Run` against a server with one worker that takes `service_s` for a request."""

    def __init__(self, service_s: float, stop_after: int | None = None) -> None:
        self._service_s, self._stop_after = service_s, stop_after
        self.loads: list[Load] = []

    @property
    def stopped(self) -> bool:
        return self._stop_after is not None and len(self.loads) >= self._stop_after

    async def run(
        self, load: Load, scale: int | None = None, enough: Enough | None = None
    ) -> Trial:
        self.loads.append(load)
        if load.rate is None:
            count = round(load.seconds / self._service_s)
            starts = np.arange(count) * self._service_s
            samples = [Sample(at, at, at + self._service_s, Outcome.OK) for at in starts.tolist()]
            return Trial(load, samples, 0.0, scale)
        free, samples = 0.0, []
        for at in arrivals(load.rate, load.seconds, load.process, load.seed):
            free = max(free, at) + self._service_s
            samples.append(Sample(at, at, free, Outcome.OK))
            if enough and enough(samples):
                load = replace(load, seconds=at)
                break
        return Trial(load, samples, 0.0, scale)


STEP = Load(seconds=30.0, warm_up_s=0.0)


def found(run: Simulated, target_ms: float, seconds: float = 200.0) -> Found:
    return asyncio.run(Search(run, target_ms, Load(seconds=seconds, warm_up_s=0.0)).find())


def highest(service_s: float, target_s: float) -> float:
    """The rate at which 1 in 100 takes longer than the target, by Erlang's formula for M/D/1."""

    def late(rate: float) -> float:
        busy, wait = rate * service_s, target_s / service_s - 1.0
        return 1.0 - (1.0 - busy) * sum(
            (busy * (k - wait)) ** k / math.factorial(k) * math.exp(-busy * (k - wait))
            for k in range(math.floor(wait) + 1)
        )

    low, high = 0.0, 1.0 / service_s
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if late(middle) <= LATE else (low, middle)
    return low


def test_search_finds_what_theory_says() -> None:
    # 20 ms each, 100 ms allowed: at 28.0 a second 1 in 100 takes longer.
    assert highest(0.02, 0.1) == pytest.approx(28.04, abs=0.01)
    result = found(Simulated(0.02), 100.0)
    assert result.qps.value == pytest.approx(highest(0.02, 0.1), rel=0.08)
    assert result.qps.low <= highest(0.02, 0.1) <= result.qps.high
    assert result.capacity == pytest.approx(50.0, rel=0.02)


def test_what_is_told_as_sure_is_false_in_few_searches() -> None:
    # A queue that is slow to empty, in short steps: late requests come in a burst or not at all.
    truth = highest(0.058, 0.5)
    assert truth == pytest.approx(12.73, abs=0.01)
    told = [
        asyncio.run(Search(Simulated(0.058), 500.0, replace(STEP, seed=1000 * n)).find()).qps
        for n in range(80)
    ]
    assert sum(one.low > truth for one in told) <= 4
    assert sum(one.high < truth for one in told) <= 4
    assert told[6].low == pytest.approx(10.75)
    assert told[6].high == pytest.approx(12.9)


def test_rate_that_is_told_has_met_the_target_in_a_longer_run() -> None:
    run = Simulated(0.02)
    result = found(run, 100.0)
    last = run.loads[-1]
    assert (last.rate, last.seconds) == (result.qps.value, 400.0)
    late = [sample.latency > 0.1 for sample in result.trials[-1].samples]
    assert sum(late) <= LATE * len(late)


def test_server_that_slows_down_meanwhile_is_told_by_its_longer_runs() -> None:
    class Tiring(Simulated):
        async def run(
            self, load: Load, scale: int | None = None, enough: Enough | None = None
        ) -> Trial:
            if load.seconds > 200.0:
                self._service_s = 0.03
            return await super().run(load, scale, enough)

    result = found(Tiring(0.02), 100.0)
    assert highest(0.03, 0.1) == pytest.approx(12.38, abs=0.01)
    assert result.qps.value == pytest.approx(highest(0.03, 0.1), rel=0.1)
    met = [trial for trial in result.trials if trial.load.rate == result.qps.value]
    assert [trial.load.seconds for trial in met] == [400.0]


def test_steps_have_arrivals_of_their_own() -> None:
    run = Simulated(0.02)
    found(run, 100.0)
    assert run.loads[0].callers == CAPACITY_CALLERS
    seeds = [load.seed for load in run.loads[1:]]
    assert len(set(seeds)) == len(seeds)


def test_target_below_the_service_time_is_never_met() -> None:
    result = found(Simulated(0.02), 10.0)
    assert (result.qps.value, result.qps.low) == (0.0, 0.0)


def test_slow_rates_are_tried_for_longer() -> None:
    run = Simulated(2.0)
    found(run, 5000.0, seconds=30.0)
    # About 100 requests at a quarter of a second each.
    assert run.loads[1].rate == pytest.approx(0.25)
    assert run.loads[1].seconds == pytest.approx(400.0)
    # And twice as many to confirm what was found.
    last = run.loads[-1]
    assert last.rate is not None
    assert last.rate * last.seconds == pytest.approx(200.0)


def test_hopeless_step_ends_early() -> None:
    run = Simulated(0.02)
    result = found(run, 21.0)
    first = result.trials[1]
    assert first.load.rate == pytest.approx(25.0, rel=0.02)
    assert first.load.seconds < 20.0


def test_server_that_does_more_for_more_callers_is_searched_above_its_first_capacity() -> None:
    class Quicker(Simulated):
        async def run(
            self, load: Load, scale: int | None = None, enough: Enough | None = None
        ) -> Trial:
            trial = await super().run(load, scale, enough)
            if load.rate is None:
                return replace(trial, samples=trial.samples[::4])  # a quarter of what it could do
            return trial

    result = found(Quicker(0.02), 100.0)
    assert result.capacity == pytest.approx(12.5, rel=0.05)
    assert result.qps.value == pytest.approx(highest(0.02, 0.1), rel=0.08)


def test_failed_requests_miss_the_target() -> None:
    class Refusing(Simulated):
        async def run(
            self, load: Load, scale: int | None = None, enough: Enough | None = None
        ) -> Trial:
            trial = await super().run(load, scale, enough)
            if load.rate and load.rate > 10.0:
                for sample in trial.samples[::50]:
                    sample.outcome = Outcome.REFUSED
            return trial

    assert found(Refusing(0.02), 1000.0).qps.value == pytest.approx(10.0, rel=2 * PRECISION)


def test_interrupted_search_tells_what_it_has_found() -> None:
    result = found(Simulated(0.02, stop_after=3), 100.0)
    assert len(result.trials) == 3
    assert result.qps.value == pytest.approx(25.0, rel=0.02)


def test_interrupted_confirmation_keeps_the_rate_that_was_met() -> None:
    whole = Simulated(0.02)
    found(whole, 100.0)
    confirmations = [n for n, load in enumerate(whole.loads, 1) if load.seconds == 400.0]
    stopped = found(Simulated(0.02, stop_after=confirmations[0]), 100.0)
    assert stopped.qps.value == whole.loads[confirmations[0] - 1].rate


def test_server_without_an_answer_has_no_rate() -> None:
    class Dead(Simulated):
        async def run(
            self, load: Load, scale: int | None = None, enough: Enough | None = None
        ) -> Trial:
            self.loads.append(load)
            return Trial(load, [Sample(0.0, 0.0, 1.0, Outcome.CONNECTION)], 0.0)

    run = Dead(0.02)
    assert found(run, 100.0).qps.value == 0.0
    assert len(run.loads) == 1
