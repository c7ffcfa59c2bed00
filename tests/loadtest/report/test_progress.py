from __future__ import annotations

import pytest

from loadtest.report.progress import HISTORY_S, Progress
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress("a run", Load(rate=10.0, seconds=8.0, warm_up_s=2.0), clock)


def ok(began: float, latency: float) -> Sample:
    return Sample(began, began, began + latency, Outcome.OK, 200)


def test_requests_are_in_flight_until_they_end(progress: Progress) -> None:
    for _ in range(3):
        progress.sent()
    progress.tell(ok(0.0, 0.1))
    progress.tell(Sample(0.0, 0.0, 0.1, Outcome.REFUSED, 503, "503 queue_full"))
    progress.tell(Sample(0.0, 0.0, 0.1, Outcome.LATE))
    progress.sent()
    assert (progress.started, progress.in_flight, progress.failed) == (4, 1, 2)
    assert progress.reasons == {"503 queue_full": 1, "late": 1}


def test_the_warm_up_counts_neither_for_the_rate_nor_for_latency(
    progress: Progress, clock: Clock
) -> None:
    clock.now += 1.0
    progress.tell(ok(0.5, 0.5))
    assert progress.warming_up
    assert progress.percentiles_ms() == {}
    clock.now += 3.0
    progress.tell(ok(1.9, 2.0))  # began in the warm-up, came after it
    for latency in (0.010, 0.020, 0.030):
        progress.tell(ok(3.0, latency))
    assert not progress.warming_up
    assert progress.rate == 2.0
    assert progress.percentiles_ms() == pytest.approx(
        {"p50": 20.0, "p90": 28.0, "p99": 29.8, "slowest": 30.0}
    )


def test_a_stall_is_seen_second_by_second(progress: Progress, clock: Clock) -> None:
    progress.tell(ok(0.0, 0.1))
    progress.tell(ok(0.0, 0.3))
    clock.now += 3.5
    assert [second.answered for second in progress.history()] == [2, 0, 0]
    progress.tell(ok(0.2, 3.3))
    clock.now += 1.0
    history = progress.history()
    assert [second.answered for second in history] == [2, 0, 0, 1]
    assert [second.slowest_ms for second in history] == pytest.approx([300.0, 0.0, 0.0, 3300.0])


def test_the_history_is_of_the_last_seconds(progress: Progress, clock: Clock) -> None:
    for second in range(HISTORY_S + 30):
        clock.now = 100.5 + second
        for _ in range(second):
            progress.tell(ok(0.0, 0.1))
    answered = [second.answered for second in progress.history()]
    assert answered == list(range(29, HISTORY_S + 29))
