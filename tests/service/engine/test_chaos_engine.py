"""What each mark does to the batches that hold its image."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from export.engines.session import DeviceFault, OutOfMemory, SessionError
from model.letterbox import Canvas
from service.engine.chaos import Mark
from service.engine.chaos_engine import ChaosEngine
from service.scheduling.schedule import Entry, Key
from tests.service.fakes import THREE, FakeSession

pytestmark = pytest.mark.anyio

CANVAS = Canvas(64, 96)


def entry(mark: Mark | None = None) -> Entry:
    image = np.zeros((*CANVAS, 3), np.uint8)
    return Entry(Key(CANVAS, 0.05, 0.5), image, (64, 96), queued_at=0.0, chaos=mark)


async def test_unmarked_images_run_as_they_would():
    session = FakeSession()
    engine = ChaosEngine(session)
    assert await engine.run([entry(), entry()]) == [THREE, THREE]
    assert len(session.runs) == 1
    engine.close()


async def test_fail_fails_every_batch_with_the_image():
    engine = ChaosEngine(FakeSession())
    bad = entry(Mark("fail"))
    for batch in ([entry(), bad], [bad]):
        with pytest.raises(SessionError) as error:
            await engine.run(batch)
        assert type(error.value) is SessionError
    assert await engine.run([entry()]) == [THREE]
    engine.close()


async def test_oom_spares_the_image_alone():
    engine = ChaosEngine(FakeSession())
    large = entry(Mark("oom"))
    with pytest.raises(OutOfMemory):
        await engine.run([large, entry()])
    assert await engine.run([large]) == [THREE]
    engine.close()


async def test_delay_takes_the_longest_of_the_batch_and_then_runs():
    slept: list[float] = []
    engine = ChaosEngine(FakeSession(), sleep=slept.append)
    batch = [entry(Mark("delay", 0.5)), entry(Mark("delay", 2.0)), entry()]
    assert await engine.run(batch) == [THREE] * 3
    assert slept == [2.0]
    engine.close()


async def test_sticky_loses_the_device_for_good():
    session = FakeSession()
    engine = ChaosEngine(session)
    for batch in ([entry(Mark("sticky"))], [entry()]):
        with pytest.raises(DeviceFault):
            await engine.run(batch)
    assert session.runs == []
    engine.close()


async def test_hang_holds_the_engines_own_thread():
    release = threading.Event()
    names: list[str] = []

    def hang() -> None:
        names.append(threading.current_thread().name)
        release.wait()

    engine = ChaosEngine(FakeSession(), hang=hang)
    release.set()
    assert await engine.run([entry(Mark("hang"))]) == [THREE]
    assert names == ["engine_0"]
    engine.close()
