"""What hangs or has lost its device is told once, and nothing runs after it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from export.engines.session import DeviceFault, OutOfMemory, SessionError
from model.letterbox import Canvas
from service.engine.watchdog import EngineHung, HangBound, WatchedEngine
from service.scheduling.schedule import Entry, Key
from tests.service.fakes import THREE, HeldEngine

SMALL, LARGE = Canvas(64, 96), Canvas(128, 160)


def entry(canvas: Canvas = SMALL) -> Entry:
    image = np.zeros((*canvas, 3), np.uint8)
    return Entry(Key(canvas, 0.05, 0.5), image, (canvas.height, canvas.width), queued_at=0.0)


def test_the_first_run_of_a_shape_may_take_20_times_the_least_bound():
    bound = HangBound(30.0)
    bound.observe((SMALL, 1), 500.0)  # it compiled
    assert bound.seconds((SMALL, 1)) == 30.0
    assert bound.seconds((SMALL, 2)) == 600.0
    assert bound.seconds((LARGE, 1)) == 600.0


def test_later_runs_may_take_20_times_the_longest_seen():
    bound = HangBound(30.0)
    for seconds in (9.0, 2.0, 1.0):
        bound.observe((SMALL, 1), seconds)
    assert bound.seconds((SMALL, 1)) == pytest.approx(20 * 2.0 * 0.99)


def test_a_slow_run_is_forgotten():
    bound = HangBound(30.0)
    for seconds in (1.0, 10.0, *[1.0] * 50):
        bound.observe((SMALL, 1), seconds)
    assert bound.seconds((SMALL, 1)) == pytest.approx(200.0 * 0.99**50)  # 121 s
    for _ in range(150):
        bound.observe((SMALL, 1), 1.0)
    assert bound.seconds((SMALL, 1)) == 30.0


class Scripted:
    """An engine that raises or answers what is next, and counts its runs."""

    def __init__(self, *results: object) -> None:
        self.results = list(results)
        self.closed = False

    async def run(self, batch):
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return [THREE] * len(batch) if result is None else result

    def close(self) -> None:
        self.closed = True


def watched(engine, told, least_s=1000.0) -> WatchedEngine:
    return WatchedEngine(engine, least_s, lambda: 0.0, told.append)


@pytest.mark.anyio
async def test_after_a_device_fault_nothing_runs_and_all_is_told_once():
    told: list[Exception] = []
    lost = DeviceFault("lost")
    engine = Scripted(None, lost, None)
    watch = watched(engine, told)
    assert await watch.run([entry(), entry()]) == [THREE, THREE]
    for _ in range(2):
        with pytest.raises(DeviceFault, match="lost"):
            await watch.run([entry()])
    assert told == [lost]
    assert len(engine.results) == 1
    watch.close()
    assert engine.closed


@pytest.mark.anyio
@pytest.mark.parametrize("error", [OutOfMemory("full"), SessionError("no"), TimeoutError("own")])
async def test_after_another_fault_the_engine_runs_on(error):
    told: list[Exception] = []
    watch = watched(Scripted(error, None), told)
    with pytest.raises(type(error)):
        await watch.run([entry()])
    assert await watch.run([entry()]) == [THREE]
    assert told == [error]


@pytest.mark.anyio
async def test_a_batch_with_too_few_results_has_failed():
    told: list[Exception] = []
    watch = watched(Scripted([THREE]), told)
    with pytest.raises(SessionError, match="1 results for a batch of 2"):
        await watch.run([entry(), entry()])
    assert len(told) == 1


@pytest.mark.anyio
async def test_a_run_that_does_not_come_back_is_a_device_fault():
    told: list[Exception] = []
    engine = HeldEngine()
    watch = watched(engine, told, least_s=0.001)
    with pytest.raises(EngineHung, match=r"a run of 1 on 64x96 took over 0\.0 s") as hung:
        await asyncio.wait_for(watch.run([entry()]), 30)
    with pytest.raises(EngineHung):
        await watch.run([entry()])
    assert told == [hung.value]
    assert len(engine.batches) == 1


@pytest.mark.anyio
async def test_a_run_that_its_owner_cancels_is_no_fault():
    told: list[Exception] = []
    engine = HeldEngine()
    watch = watched(engine, told)
    running = asyncio.ensure_future(watch.run([entry()]))
    await engine.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told == []
