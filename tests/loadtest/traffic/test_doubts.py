from __future__ import annotations

from collections.abc import Sequence

from loadtest.traffic.doubts import backlog
from loadtest.traffic.doubts import doubts_of as doubts_of_study
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Trial


def samples_of(took: Sequence[float], lag: float = 0.0) -> list[Sample]:
    gap = 10.0 / len(took)
    return [
        Sample(n * gap, n * gap + lag, n * gap + one, Outcome.OK, 200) for n, one in enumerate(took)
    ]


def trial(samples: Sequence[Sample], cores: float = 0.1, callers: int | None = None) -> Trial:
    rate = None if callers else len(samples) / 10
    return Trial(Load(rate=rate, callers=callers, seconds=10.0), samples, cores)


def doubts_of(only: Trial) -> list[str]:
    return doubts_of_study("load", [only])


QUIET = [0.05 + n % 7 / 1000 for n in range(3000)]


def test_sound_run_has_none() -> None:
    assert doubts_of(trial(samples_of(QUIET))) == []


def test_failures_are_told_with_their_reasons() -> None:
    samples = samples_of(QUIET)
    for n in range(0, 300, 100):
        samples[n].outcome, samples[n].why = Outcome.REFUSED, "503 queue_full"
    assert doubts_of(trial(samples)) == [
        "3 of 3000 requests were not answered (3 x 503 queue_full); the latencies are of the others"
    ]


def test_backlog_that_grows_means_too_high_a_rate() -> None:
    # The server does two thirds of what comes: each waits longer than the one before.
    growing = trial(samples_of([0.05 + n * (10.0 / 3000) / 2 for n in range(3000)]))
    assert backlog(growing) == 1009
    assert doubts_of(growing)[0].startswith("1009 of 3000 requests still waited at the end")
    assert backlog(trial(samples_of(QUIET))) == 0


def test_client_that_was_late_says_so() -> None:
    (doubt,) = doubts_of(trial(samples_of(QUIET, lag=0.02)))
    assert doubt.startswith("the load test itself was late by 20.0 ms at its p99")
    assert doubts_of(trial(samples_of(QUIET, lag=0.0005))) == []


def test_client_that_took_its_core_says_so() -> None:
    (doubt,) = doubts_of(trial(samples_of(QUIET), cores=0.97))
    assert doubt.startswith("the load test took 97% of a core")


def test_too_few_answers_say_so() -> None:
    (doubt,) = doubts_of(trial(samples_of(QUIET[:150])))
    assert doubt == "answers are too few to bound p99 from above; a longer run can"


def test_closed_loop_is_asked_neither_for_lag_nor_for_backlog() -> None:
    assert doubts_of(trial(samples_of([30.0] * 200, lag=0.1), callers=4)) == []


def test_nothing_counted_is_said() -> None:
    assert doubts_of(trial([], callers=1)) == ["no request was counted"]


def test_each_of_several_runs_says_which_it_is() -> None:
    few, late = trial(samples_of(QUIET[:150])), trial(samples_of(QUIET, lag=0.02))
    assert doubts_of_study("rates", [few, late, few]) == [
        "300 requests/s (poisson): " + doubts_of(late)[0],
        "answers are too few to bound p99 from above in 2 of 3 runs; a longer run can",
    ]


def test_search_goes_where_servers_fail() -> None:
    refused = trial([Sample(0.0, 0.0, 0.1, Outcome.REFUSED)])
    late = trial(samples_of(QUIET, lag=0.02))
    (doubt,) = doubts_of_study("max-qps", [refused, late])
    assert "the load test itself was late" in doubt
