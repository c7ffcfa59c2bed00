from __future__ import annotations

import re
from dataclasses import replace

import pytest

from loadtest.report.sheets import seen_of
from loadtest.report.verdict import Verdict, verdict_of
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Study, Trial
from tests.loadtest.report.studies import (
    FACTS,
    load_study,
    mlperf_study,
    rates_study,
    scales_study,
    search_study,
)


def verdict(study: Study) -> Verdict:
    return verdict_of(study, seen_of(study))


def even(count: int, latency: float, failing: int = 0) -> Study:
    samples = [
        Sample(n / 10, n / 10, n / 10 + latency, Outcome.OK)
        if n >= failing
        else Sample(n / 10, n / 10, n / 10, Outcome.REFUSED, 503)
        for n in range(count)
    ]
    return Study("load", FACTS, [Trial(Load(rate=10.0, seconds=count / 10), samples, 0.1)])


def test_a_run_is_told_by_rate_and_latency() -> None:
    sentence, tone = verdict(even(2000, 0.020))
    assert sentence == "10.0 answers/s of 10.0 sent at a rate of 10: p50 20.0 ms, p99 20.0 ms."
    assert tone == "note"


def test_arrivals_that_were_fewer_than_their_rate_by_chance_are_no_shortfall() -> None:
    study = even(1800, 0.020)
    load = replace(study.trials[0].load, seconds=200.0)
    sentence, _ = verdict(replace(study, trials=[replace(study.trials[0], load=load)]))
    assert sentence.startswith("9.00 answers/s of 9.00 sent at a rate of 10: p50 20.0 ms")


def test_failures_are_part_of_the_sentence() -> None:
    sentence, tone = verdict(even(2000, 0.020, failing=100))
    assert sentence.endswith("; 5% failed.")
    assert tone == "warning"


@pytest.mark.parametrize(
    ("study", "tone", "said"),
    [
        (even(4000, 0.020), "well", "It meets the target of 25 ms"),
        (even(4000, 0.030), "error", "It misses the target of 25 ms"),
        # Who is refused was not answered in time.
        (even(4000, 0.020, failing=400), "error", "It misses the target of 25 ms"),
        (even(50, 0.020), "warning", "Too few requests to say anything about p99."),
    ],
)
def test_a_target_is_met_missed_or_open(study: Study, tone: str, said: str) -> None:
    found = verdict(replace(study, p99_ms=25.0))
    assert found.tone == tone
    assert said in found.sentence


def test_a_close_call_says_that_it_may_be_chance() -> None:
    study = load_study(rate=40.0, seconds=20.0)
    latencies = sorted(sample.latency for sample in study.trials[0].samples)
    p99_ms = 1e3 * latencies[int(0.99 * len(latencies))]
    found = verdict(replace(study, p99_ms=p99_ms + 0.1))
    assert found.tone == "warning"
    assert "which may be chance: the range of their p99 is" in found.sentence


def test_a_single_answer_is_told_without_percentiles() -> None:
    assert verdict(even(1, 0.020)).sentence == (
        "10.0 answers/s of 10.0 sent at a rate of 10: the only answer took 20.0 ms."
    )


def test_a_rate_with_a_single_answer_is_left_out_of_the_sentence() -> None:
    one, many = even(1, 0.020).trials[0], even(200, 0.030).trials[0]
    study = Study("rates", FACTS, [replace(one, load=replace(one.load, rate=1.0)), many])
    assert verdict(study).sentence == "p99 is 30.0 ms at 10/s."


def test_a_scale_with_a_single_answer_is_left_out_of_the_sentence() -> None:
    study = scales_study()
    first = replace(study.trials[0], samples=study.trials[0].samples[:1])
    sentence = verdict(replace(study, trials=[first, *study.trials[1:]])).sentence
    assert re.fullmatch(
        r"An idle server's median latency is [\d.]+ ms at scale 480 \(closed loop: .+\)\.", sentence
    )
    assert verdict(replace(study, trials=[first])) == (
        "Too few answers to one caller to tell an idle server's latency.", "warning",
    )  # fmt: skip


def test_an_interrupted_sweep_of_scales_calls_no_busy_server_idle() -> None:
    study = scales_study()
    assert verdict(replace(study, trials=study.trials[1:2])).tone == "warning"


def test_a_closed_loop_is_said_to_be_one() -> None:
    said = "to 4 callers (closed loop: callers wait for their answers): p50"
    assert said in verdict(load_study(rate=None, callers=4)).sentence
    assert "closed loop" not in verdict(load_study()).sentence


def test_rates_that_miss_the_target_are_named() -> None:
    fast, slow = even(200, 0.020).trials[0], even(200, 0.030).trials[0]
    slow = replace(slow, load=replace(slow.load, rate=20.0))
    study = Study("rates", FACTS, [fast, slow], p99_ms=25.0)
    assert verdict(study) == (
        "p99 is 20.0 ms at 10/s and 30.0 ms at 20/s. "
        "Not within the target of 25 ms for 99% of all requests: 20/s.",
        "error",
    )
    assert verdict(replace(study, p99_ms=35.0)) == (
        "p99 is 20.0 ms at 10/s and 30.0 ms at 20/s. "
        "Each rate meets the target of 35 ms for 99% of all requests.",
        "well",
    )
    few = replace(slow, samples=slow.samples[:99])
    assert verdict(replace(study, trials=[fast, few], p99_ms=35.0)).sentence.endswith(
        ": 20/s; fewer than 100 requests have not met it."
    )


def test_other_kinds_say_what_they_were_run_for() -> None:
    assert re.fullmatch(
        r"p99 is [\d.]+ ms at 10/s and [\d.]+ ms at 80/s\.", verdict(rates_study()).sentence
    )
    assert re.fullmatch(
        r"An idle server's median latency is [\d.]+ ms at scale 320 to [\d.]+ ms at scale 480 .+",
        verdict(scales_study()).sentence,
    )
    assert verdict(search_study()) == (
        "32.0 requests/s: 99% of all requests within 100 ms; surely 31.0, surely less than 33.0.",
        "well",
    )
    assert verdict(search_study(rate=0.0)).tone == "error"
    assert verdict(mlperf_study()).sentence.startswith("MLPerf Server: VALID. ")
    assert verdict(mlperf_study(valid=False)).tone == "error"


@pytest.mark.parametrize("kind", ["load", "rates", "scales", "max-qps", "mlperf"])
def test_no_answer_at_all_is_said(kind: str) -> None:
    failed = [Sample(0.0, 0.0, 0.1, Outcome.CONNECTION, why="connection refused")] * 3
    study = Study(kind, FACTS, [Trial(Load(rate=3.0, seconds=1.0), failed, 0.1)])
    assert verdict(study) == ("No answer to any of 3 requests.", "error")
