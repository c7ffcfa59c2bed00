from __future__ import annotations

import math

import pytest

from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.summary import Server, Stage, all_ms, percentiles_of, summary_of
from loadtest.traffic.trial import Load, Trial


def answered(at: float, took: float = 0.1, **rest: object) -> Sample:
    return Sample(at, at + 0.001, at + took, Outcome.OK, 200, **rest)  # type: ignore[arg-type]


def refused(at: float) -> Sample:
    return Sample(at, at, at + 0.002, Outcome.REFUSED, 503, "503 queue_full")


def trial(samples: list[Sample], seconds: float = 10.0, carried: int = 0) -> Trial:
    return Trial(Load(rate=10.0, seconds=seconds), samples, 0.25, carried=carried)


def test_outcomes_reasons_and_servers_add_up() -> None:
    late = Sample(2.0, 2.0, 62.0, Outcome.LATE, why="no answer in time", server=1)
    summary = summary_of(trial([answered(0.0), answered(1.0), refused(1.5), refused(1.6), late]))
    assert (summary.sent, summary.ok, summary.failed) == (5, 2, 3)
    assert summary.outcomes == {Outcome.OK: 2, Outcome.REFUSED: 2, Outcome.LATE: 1}
    assert summary.reasons == {"503 queue_full": 2, "no answer in time": 1}
    assert summary.servers == {0: Server(4, 2), 1: Server(1, 0)}
    assert summary.client_cores == 0.25


def test_latencies_are_of_answers_from_the_intended_start() -> None:
    summary = summary_of(trial([answered(n / 10, 0.1 + n / 1000) for n in range(100)]))
    assert summary.mean_ms is not None
    assert summary.mean_ms.value == pytest.approx(149.5)
    assert summary.percentiles_ms[50.0].value == pytest.approx(149.0)
    assert summary.percentiles_ms[99.0].value == pytest.approx(198.0)
    assert summary.slowest_ms == pytest.approx(199.0)
    assert summary.lag_p99_ms == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("count", "percents"),
    [
        (1, []),
        (2, [50]),
        (99, [50, 90, 95]),
        (100, [50, 90, 95, 99]),
        (1000, [50, 90, 95, 99, 99.9]),
    ],
)
def test_percentile_is_given_where_there_are_requests_above_it(
    count: int, percents: list[float]
) -> None:
    assert list(percentiles_of([1.0] * count)) == percents


def test_answers_count_in_the_second_in_which_they_came() -> None:
    # 20 in the counted ten seconds, 3 after them; 2 that the warm-up had asked for.
    samples = [answered(n / 2) for n in range(20)] + [answered(9.9, 5.0) for _ in range(3)]
    assert summary_of(trial(samples, carried=2)).answered_per_s.value == pytest.approx(2.2)


def test_goodput_is_what_was_answered_within_the_target() -> None:
    samples = [answered(n / 10, 0.1 if n % 4 else 0.3) for n in range(96)]
    samples += [refused(9.7), refused(9.8), refused(9.9), refused(9.95)]
    summary = summary_of(trial(samples), target_ms=200.0)
    assert summary.good is not None
    assert summary.good.value == pytest.approx(0.72)
    assert 0.5 < summary.good.low < 0.72 < summary.good.high < 0.9
    assert summary.good_per_s is not None
    assert summary.good_per_s.value == pytest.approx(7.2)
    assert summary_of(trial(samples)).good is None


def test_who_was_not_answered_waits_for_ever() -> None:
    assert all_ms([answered(0.0, 0.5), refused(1.0)]) == [pytest.approx(500.0), math.inf]


def test_stages_and_batches_are_of_the_answers_that_tell_them() -> None:
    samples = [
        answered(n / 10, stages={"inference": float(n)}, batch=1 + n % 2) for n in range(1, 6)
    ]
    summary = summary_of(trial([*samples, answered(1.0)]))
    assert summary.stages == {"inference": Stage(3.0, 3.0, 5.0)}
    assert summary.batches == {1: 2, 2: 3}


def test_nothing_sent_is_no_figure() -> None:
    summary = summary_of(trial([], seconds=0.0), target_ms=100.0)
    assert (summary.sent, summary.mean_ms, summary.slowest_ms) == (0, None, None)
    assert summary.percentiles_ms == {}
    assert summary.answered_per_s.value == 0.0
    assert summary.good is None
