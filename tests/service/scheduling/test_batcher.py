from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.engines.session import Detections
from model.letterbox import Canvas
from service.errors import DeadlinePassed, Draining, InferenceFailed, QueueFull, TooLate
from service.scheduling.batcher import Batcher
from service.scheduling.dispatcher import BatchReport
from service.scheduling.schedule import Answer, Entry, Limits
from tests.service.fakes import THREE, HeldEngine, detections, settle

pytestmark = pytest.mark.anyio

THRESHOLDS = (0.05, 0.5)


class Bench:
    """A batcher over a held engine, and a clock that stands still until it is set."""

    def __init__(self, batch_size: int = 4, queue_limit: int = 64, engine=None) -> None:
        self.now = 100.0
        self.engine = engine or HeldEngine()
        self.reports: list[BatchReport] = []
        self.batcher = Batcher(
            self.engine,
            Limits(batch_size, 10**9),
            queue_limit,
            self.reports.append,
            lambda: self.now,
        )

    def admit(self, side: int = 64, thresholds=THRESHOLDS, deadline=None):
        return self.batcher.admit([Canvas(side, side)], thresholds, deadline)

    def submit(self, mark: int = 0, side: int = 64, thresholds=THRESHOLDS, deadline=None):
        async def work() -> Answer:
            with self.admit(side, thresholds, deadline) as place:
                return await self.put(place, mark, side)

        return asyncio.ensure_future(work())

    def put(self, place, mark: int = 0, side: int = 64):
        image = np.full((side, side, 3), mark, np.uint8)
        return self.batcher.submit(place, image, (side, side // 2))

    async def queued(self, *marks: int) -> list[asyncio.Future[Answer]]:
        """An image of mark 0, which is in the engine alone, and these, which wait behind it."""
        tasks = [self.submit(0)]
        await settle()
        tasks += [self.submit(mark) for mark in marks]
        await settle()
        return tasks

    async def sharing(self, *marks: int) -> list[asyncio.Future[Answer]]:
        """Images that share the run that the engine is at."""
        _, *tasks = await self.queued(*marks)
        self.engine.release()
        await settle()
        return tasks

    def marks(self) -> list[list[int]]:
        """The images of each batch that the engine was given."""
        return [[int(entry.image[0, 0, 0]) for entry in batch] for batch in self.engine.batches]


@asynccontextmanager
async def bench(*args, **kwargs) -> AsyncIterator[Bench]:
    it = Bench(*args, **kwargs)
    running = asyncio.ensure_future(it.batcher.run())
    await settle()
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_lone_image_runs_at_once_on_an_idle_engine():
    async with bench() as it:
        task = it.submit()
        await settle()
        assert it.marks() == [[0]]
        it.engine.release()
        assert await task == Answer(THREE, dispatched_at=100.0, batch_size=1)
        assert it.reports[0].reason == "idle"


async def test_images_that_arrive_while_the_engine_is_busy_share_the_next_batch():
    async with bench() as it:
        tasks = [it.submit(0)]
        await settle()
        tasks += [it.submit(mark) for mark in (1, 2, 3)]
        await settle()
        assert it.marks() == [[0]]
        it.engine.release()
        await settle()
        assert it.marks() == [[0], [1, 2, 3]]
        it.engine.release()
        await asyncio.gather(*tasks)
        assert [(r.size, r.reason) for r in it.reports] == [(1, "idle"), (3, "busy")]


async def test_each_image_gets_its_own_detections():
    async with bench() as it:
        tasks = await it.sharing(1, 2)
        one, two = detections(((0, 0, 1, 1), 0.9, 0)), detections(((2, 2, 3, 3), 0.8, 1))
        it.engine.release([one, two])
        answers = await asyncio.gather(*tasks)
        assert [answer.detections for answer in answers] == [one, two]


async def test_a_cancelled_image_never_reaches_the_engine_and_its_mates_are_answered():
    async with bench() as it:
        blocker, leaver, mate = await it.queued(1, 2)
        leaver.cancel()
        await settle()
        assert it.batcher.queued == 1
        it.engine.release_all()
        await asyncio.gather(blocker, mate)
        assert it.marks() == [[0], [2]]


async def test_an_owner_that_leaves_during_the_run_does_not_harm_its_mates():
    async with bench() as it:
        leaver, mate = await it.sharing(1, 2)
        assert it.marks() == [[0], [1, 2]]
        leaver.cancel()
        await settle()
        it.engine.release()
        assert (await mate).detections is THREE
        assert leaver.cancelled()


async def test_an_owner_that_leaves_in_the_moment_of_the_answer_does_not_harm_its_mates():
    async with bench() as it:
        leaver, mate = await it.sharing(1, 2)
        it.engine.release()
        leaver.cancel()
        assert (await mate).detections is THREE


async def test_what_nobody_waits_for_is_not_tried_again():
    async with bench() as it:
        leaver, mate = await it.sharing(1, 2)
        leaver.cancel()
        it.engine.fail()
        it.engine.hold = False
        assert (await mate).detections is THREE
        assert it.marks() == [[0], [1, 2], [2]]


async def test_an_image_past_its_deadline_never_reaches_the_engine():
    async with bench() as it:
        blocker = it.submit(0)
        await settle()
        late, mate = it.submit(1, deadline=101.0), it.submit(2, deadline=109.0)
        await settle()
        it.now = 102.0
        it.engine.release_all()
        with pytest.raises(DeadlinePassed):
            await late
        await asyncio.gather(blocker, mate)
        assert it.marks() == [[0], [2]]


class Poisoned(HeldEngine):
    """Fails every batch that holds an image of 13."""

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        if len(self.batches) > 0 and any(entry.image[0, 0, 0] == 13 for entry in batch):
            self.batches.append(batch)
            raise RuntimeError("poison")
        return await super().run(batch)


async def test_a_failing_batch_is_bisected_so_that_only_the_culprit_errs():
    async with bench(engine=Poisoned()) as it:
        _, *tasks = await it.queued(1, 2, 13, 4)
        it.engine.release_all()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Answer, Answer, InferenceFailed, Answer]
        assert it.marks() == [[0], [1, 2, 13, 4], [1, 2], [13, 4], [13], [4]]
        assert [report.failed for report in it.reports[1:]] == [True, False, True, True, False]


async def test_an_engine_that_answers_too_few_counts_as_failed():
    async with bench() as it:
        task = it.submit()
        await settle()
        it.engine.release([])
        with pytest.raises(InferenceFailed):
            await task


async def test_other_thresholds_run_apart():
    async with bench() as it:
        tasks = [it.submit(0)]
        await settle()
        tasks += [it.submit(1), it.submit(2, thresholds=(0.01, 0.5)), it.submit(3)]
        await settle()
        it.engine.release_all()
        await asyncio.gather(*tasks)
        assert it.marks() == [[0], [1, 3], [2]]
        assert [batch[0].key.score_threshold for batch in it.engine.batches] == [0.05, 0.05, 0.01]


async def test_admit_refuses_past_the_limit_and_says_when_to_come_back():
    async with bench(batch_size=1, queue_limit=3) as it:
        it.batcher.forecast.warmed(Canvas(64, 64), 1, 2.5)
        with it.admit(), it.admit(), it.admit():
            with pytest.raises(QueueFull) as refused, it.admit():
                pass
            assert refused.value.headers == {"Retry-After": "8"}  # 3 images of 2.5 s
        with it.admit():
            assert it.batcher.waiting == 1


async def test_an_image_in_the_engine_no_longer_counts_as_waiting():
    async with bench(queue_limit=1) as it:
        task = it.submit()
        await settle()
        assert it.batcher.waiting == 0
        with it.admit():
            assert it.batcher.waiting == 1
        it.engine.release()
        await task


async def test_close_finishes_what_was_admitted_and_admits_no_more():
    it = Bench()
    running = asyncio.ensure_future(it.batcher.run())
    with it.admit() as place, it.admit() as late:
        it.batcher.close()
        with pytest.raises(Draining), it.admit():
            pass
        await settle()
        assert not running.done()
        task = asyncio.ensure_future(it.put(place))
        await settle()
        it.engine.release()
        await task
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with pytest.raises(Draining):
            await it.put(late)


async def test_close_ends_the_dispatching_when_the_last_image_leaves_undecoded():
    it = Bench()
    running = asyncio.ensure_future(it.batcher.run())
    with it.admit():
        it.batcher.close()
        await settle()
        assert not running.done()
    await running


async def test_whoever_waits_when_the_dispatcher_is_stopped_is_told():
    it = Bench()
    running = asyncio.ensure_future(it.batcher.run())
    tasks = [it.submit(0), it.submit(1)]
    await settle()
    running.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Draining, Draining]


STEP = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from([1, 2, 13]), st.sampled_from([None, 1.0])),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("release")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("wait"), st.floats(0.1, 2.0)),
    st.tuples(st.just("close")),
)
CHAOS = st.lists(st.tuples(STEP, st.booleans()), max_size=40)
"""What happens, and whether everybody may react before the next thing happens."""


@pytest.fixture
def quiet_log():
    """Formatting the traceback of every failed batch would take most of the test's time."""
    logging.getLogger("service.scheduling.batcher").disabled = True
    yield
    logging.getLogger("service.scheduling.batcher").disabled = False


@pytest.mark.usefixtures("quiet_log")
@settings(max_examples=100, deadline=None)
@given(CHAOS)
def test_every_image_is_resolved_exactly_once_whatever_happens(steps):
    asyncio.run(_chaos(steps))


async def _chaos(steps) -> None:
    it = Bench(batch_size=3, engine=Poisoned())
    running = asyncio.ensure_future(it.batcher.run())
    tasks: list[asyncio.Future[Answer]] = []
    cancelled: set[asyncio.Future[Answer]] = set()
    for step, pause in steps:
        match step:
            case ("submit", mark, patience):
                deadline = None if patience is None else it.now + patience
                tasks.append(it.submit(mark, side=32 * (1 + mark % 2), deadline=deadline))
            case ("cancel", index) if index < len(tasks) and not tasks[index].done():
                tasks[index].cancel()
                cancelled.add(tasks[index])
            case ("release",) if it.engine._held:
                it.engine.release()
            case ("fail",) if it.engine._held:
                it.engine.fail()
            case ("wait", seconds):
                it.now += seconds
            case ("close",):
                it.batcher.close()
        if pause:
            await settle()
            assert it.batcher.running or not it.batcher.queued, "a wake-up was lost"
    it.engine.release_all()
    await settle()
    it.batcher.close()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    await asyncio.wait_for(running, 5)
    for task, result in zip(tasks, results, strict=True):
        if task in cancelled:
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert isinstance(
                result, Answer | TooLate | DeadlinePassed | InferenceFailed | Draining
            )
    assert it.batcher.queued == it.batcher.running == 0
    runs = Counter(id(entry) for batch in it.engine.batches for entry in batch)
    answered = [result for result in results if isinstance(result, Answer)]
    assert len(answered) <= len(runs)
    assert sum(report.size for report in it.reports) == sum(runs.values())
