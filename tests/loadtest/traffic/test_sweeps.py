"""Which loads a sweep runs, and what it keeps of them."""

from __future__ import annotations

import pytest

from loadtest.traffic.accuracy import AP
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.sweeps import SHARES, sweep_rates, sweep_scales
from loadtest.traffic.trial import Enough, Load, Trial
from model.errors import InputError

pytestmark = pytest.mark.anyio

LOAD = Load(rate=3.0, seconds=12.0, warm_up_s=1.0, process="constant", seed=4)


class Runs:
    """Answers `per_s` requests a second whatever is asked; stops itself after so many runs."""

    def __init__(self, per_s: float = 20.0, stop_after: int = 99) -> None:
        self.asked: list[tuple[Load, int | None]] = []
        self.stopped = False
        self._per_s, self._stop_after = per_s, stop_after

    async def run(
        self, load: Load, scale: int | None = None, enough: Enough | None = None
    ) -> Trial:
        self.asked.append((load, scale))
        self.stopped = len(self.asked) >= self._stop_after
        ends = [n / self._per_s for n in range(round(self._per_s * load.seconds))]
        samples = [Sample(end, end, end, Outcome.OK, 200) for end in ends]
        return Trial(load, samples, 0.1, scale)


async def test_each_scale_is_asked_by_one_caller_and_by_many() -> None:
    runs = Runs()

    async def accuracy(scale: int) -> AP:
        return scale / 1000, scale / 500

    trials = await sweep_scales(runs, [320, 480], LOAD, callers=8, accuracy=accuracy)
    assert [(t.load.callers, t.load.rate, t.scale, t.ap, t.ap50) for t in trials] == [
        (1, None, 320, 0.32, 0.64),
        (8, None, 320, 0.32, 0.64),
        (1, None, 480, 0.48, 0.96),
        (8, None, 480, 0.48, 0.96),
    ]
    assert {(t.load.seconds, t.load.warm_up_s) for t in trials} == {(12.0, 1.0)}


async def test_a_sweep_of_scales_that_is_stopped_keeps_what_it_has() -> None:
    async def accuracy(scale: int) -> AP:
        raise AssertionError("asked after the stop")

    trials = await sweep_scales(Runs(stop_after=1), [320, 480], LOAD, 8, accuracy)
    assert [(trial.scale, trial.ap) for trial in trials] == [(320, None)]


async def test_rates_come_in_order_as_open_loops() -> None:
    runs = Runs()
    sweep = await sweep_rates(runs, [8.0, 2.0], LOAD, callers=16, scale=480)
    assert sweep.capacity is None
    assert [(t.load.rate, t.load.callers, t.scale) for t in sweep.trials] == [
        (2.0, None, 480),
        (8.0, None, 480),
    ]
    assert {t.load.process for t in sweep.trials} == {"constant"}


async def test_without_rates_they_are_shares_of_what_many_callers_get() -> None:
    runs = Runs(per_s=20.0)
    sweep = await sweep_rates(runs, None, LOAD, callers=16)
    busy, _ = runs.asked[0]
    assert (busy.callers, busy.rate, busy.seconds) == (16, None, 4.0)
    assert sweep.capacity == pytest.approx(20.0)
    rates = [trial.load.rate for trial in sweep.trials]
    assert rates == pytest.approx([20.0 * share for share in SHARES])


async def test_a_server_that_answers_nothing_has_no_capacity() -> None:
    with pytest.raises(InputError, match="16 callers at once got no answer"):
        await sweep_rates(Runs(per_s=0.0), None, LOAD, callers=16)


async def test_a_sweep_of_rates_that_is_stopped_keeps_what_it_has() -> None:
    sweep = await sweep_rates(Runs(stop_after=2), [1.0, 2.0, 3.0], LOAD, callers=16)
    assert [trial.load.rate for trial in sweep.trials] == [1.0, 2.0]
