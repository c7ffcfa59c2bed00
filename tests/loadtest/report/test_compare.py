from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.report.compare import Change, Comparison, compare
from loadtest.traffic.confidence import Interval
from loadtest.traffic.trial import Study
from model.errors import InputError
from tests.loadtest.report.studies import (
    EVERY_KIND,
    FACTS,
    load_study,
    mlperf_study,
    rates_study,
    scales_study,
    search_study,
    trial,
)


def by_name(comparison: Comparison) -> dict[tuple[str, str], Change]:
    return {(change.run, change.figure): change for change in comparison.changes}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_study_is_like_itself(kind: str) -> None:
    study = EVERY_KIND[kind]()
    comparison = compare(study, study)
    assert comparison.changes
    assert (comparison.worse, comparison.better) == ([], [])
    assert comparison.facts == []
    assert comparison.cautions == []


@pytest.mark.parametrize(
    ("by", "meaning"),
    [
        (Interval(0.2, 0.1, 0.3), "worse"),
        (Interval(-0.2, -0.3, -0.1), "better"),
        (Interval(0.2, -0.1, 0.5), "noise"),
        (Interval(0.03, 0.01, 0.05), "small"),
        (Interval(0.0, 0.0, 0.0), "same"),
        (Interval(0.2, -1.0, 0.5), "unknown"),
        (Interval(0.2, -0.1, float("inf")), "unknown"),
        (Interval(0.2, 0.1, float("inf")), "worse"),
    ],
)
def test_what_a_change_means(by: Interval, meaning: str) -> None:
    change = Change("run", "p99, ms", 10.0, 12.0, by)
    assert change.meaning == meaning
    opposite = {"worse": "better", "better": "worse"}
    more_is_better = replace(change, less_is_better=False)
    assert more_is_better.meaning == opposite.get(meaning, meaning)


def test_a_slower_server_is_worse_and_a_faster_one_better() -> None:
    before, after = load_study(seconds=60.0), load_study(seconds=60.0, service_ms=15.0, seed=1)
    comparison = compare(before, after)
    changes = by_name(comparison)
    median = changes["40/s", "p50, ms"]
    assert median.meaning == "worse"
    assert median.by.value == pytest.approx(median.after / median.before - 1)
    assert median.by.low < median.by.value < median.by.high
    assert not comparison.better
    assert compare(after, before).better
    assert not compare(after, before).worse


def test_the_ratios_both_ways_are_each_others_inverse() -> None:
    one, other = load_study(seconds=60.0), load_study(seconds=60.0, seed=1)
    there = by_name(compare(one, other))["40/s", "p50, ms"].by
    back = by_name(compare(other, one))["40/s", "p50, ms"].by
    assert (1 + there.low) * (1 + back.high) == pytest.approx(1.0)
    assert (1 + there.high) * (1 + back.low) == pytest.approx(1.0)


def test_failures_count_even_where_latency_is_the_same() -> None:
    comparison = compare(load_study(seconds=60.0), load_study(seconds=60.0, failing=0.1, seed=1))
    failed = by_name(comparison)["40/s", "failed"]
    assert (failed.before, failed.meaning) == (0.0, "worse")
    assert failed.by.value == pytest.approx(0.1, abs=0.03)


def test_all_runs_together_show_what_none_of_them_can() -> None:
    rates = (30.0, 40.0, 50.0, 60.0)
    before = rates_study(rates, seconds=30.0)
    after = rates_study(rates, seconds=30.0, service_ms=10.9)
    changes = by_name(compare(before, after))
    together = changes["all runs", "p50, ms"]
    alone = [changes[f"{rate:g}/s", "p50, ms"] for rate in rates]
    assert together.before is together.after is None
    widths = [change.by.high - change.by.low for change in alone]
    assert together.by.high - together.by.low < 0.7 * min(widths)
    assert together.meaning == "worse"


def test_more_figures_take_more_evidence() -> None:
    one = load_study(seconds=60.0)
    few = by_name(compare(one, load_study(seconds=60.0, seed=1)))["40/s", "p50, ms"].by
    trials = [trial(rate=rate, seconds=60.0) for rate in (40.0, 20.0, 30.0, 50.0, 60.0)]
    others = [trial(rate=rate, seconds=60.0, seed=1) for rate in (40.0, 20.0, 30.0, 50.0, 60.0)]
    many = by_name(compare(Study("rates", FACTS, trials), Study("rates", FACTS, others)))
    assert many["40/s", "p50, ms"].by.high > few.high


def test_a_busy_server_is_compared_by_its_answers_and_an_idle_one_by_its_latency() -> None:
    changes = by_name(compare(scales_study(), scales_study(slower=1.3, seed=9)))
    of_scale = {figure for run, figure in changes if run.startswith("scale 320")}
    assert of_scale == {"p50, ms", "p90, ms", "p99, ms", "answers/s", "AP", "AP50"} or (
        of_scale == {"p50, ms", "p90, ms", "answers/s", "AP", "AP50"}
    )
    assert ("scale 320, 4 callers", "p50, ms") not in changes
    assert ("scale 320, 1 caller", "answers/s") not in changes
    assert changes["scale 320, 4 callers", "answers/s"].meaning == "worse"
    assert changes["scale 480", "AP"].meaning == "same"


def test_accuracy_that_is_lost_is_worse_however_fast() -> None:
    comparison = compare(scales_study(), scales_study(slower=0.7, aps=(0.4, 0.48)))
    assert [(one.run, one.figure) for one in comparison.worse] == [
        ("scale 480", "AP"), ("scale 480", "AP50"),
    ]  # fmt: skip
    assert comparison.better


@pytest.mark.parametrize(
    ("after", "meaning"),
    [
        (search_study(25.0, 24.0, 26.0), "worse"),
        (search_study(40.0, 39.0, 41.0), "better"),
        (search_study(31.5, 30.0, 33.0), "noise"),
        (search_study(25.0, 0.0, 40.0), "unknown"),
        (search_study(0.0, 0.0, 5.0), "worse"),
    ],
)
def test_searches_are_compared_by_what_they_found(after: Study, meaning: str) -> None:
    (change,) = compare(search_study(), after).changes
    assert change.figure == "highest rate, requests/s"
    assert change.meaning == meaning


def test_a_search_without_an_upper_end_can_still_be_better() -> None:
    after = search_study(60.0, 55.0)
    after = replace(after, found={k: v for k, v in after.found.items() if k != "high"})
    assert [change.meaning for change in compare(search_study(), after).changes] == ["better"]


def test_an_invalid_result_of_mlperf_is_worse() -> None:
    comparison = compare(mlperf_study(), mlperf_study(valid=False))
    assert [change.figure for change in comparison.worse] == ["MLPerf's verdict"]
    assert ("MLPerf", "Server: VALID", "Server: INVALID") in comparison.facts


def test_facts_that_differ_are_told() -> None:
    before, after = load_study(), load_study()
    changed = {**FACTS, "model": "other", "engine": "new", "when": "now", "command": "again"}
    assert compare(before, replace(after, facts=changed)).facts == [
        ("model", "known", "other"), ("engine", "-", "new"),
    ]  # fmt: skip


def test_loads_that_differ_are_compared_with_a_caution() -> None:
    comparison = compare(load_study(rate=40.0), load_study(rate=42.0))
    assert comparison.cautions == [
        "the loads are not the same, and latency depends on load: 40/s and 42/s"
    ]
    assert comparison.changes


def test_even_gaps_are_another_load_than_those_of_independent_callers() -> None:
    one = load_study()
    load = replace(one.trials[0].load, process="constant")
    even = replace(one, trials=[replace(one.trials[0], load=load)])
    assert compare(one, even).cautions == [
        "the loads are not the same, and latency depends on load: 40/s and 40/s constant"
    ]


def test_what_was_not_asked_alike_is_told_with_a_caution() -> None:
    one = search_study()
    before = replace(one, facts={**FACTS, "arrivals": "poisson", "timeout": "60 s"})
    after = replace(one, facts={**FACTS, "arrivals": "constant", "timeout": "60 s"})
    comparison = compare(before, after)
    assert comparison.facts == [("arrivals", "poisson", "constant")]
    assert comparison.cautions == [
        "what was asked is not the same (arrivals): a change may be the load's"
    ]
    # What an older version did not write down is no difference.
    assert compare(one, after).cautions == []


def test_runs_of_one_study_only_are_named() -> None:
    comparison = compare(rates_study((10.0, 40.0)), rates_study((40.0, 80.0)))
    assert comparison.cautions == ["in one of the two only: 10/s and 80/s"]
    assert {change.run for change in comparison.changes} == {"40/s"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (load_study, rates_study, "a study of load and one of rates can't be compared"),
        (search_study, lambda: search_study(p99_ms=50.0), "within 100 ms and within 50 ms"),
        (mlperf_study, lambda: mlperf_study(scenario="Offline"), "Server and Offline can't"),
        (load_study, lambda: load_study(rate=None, callers=2), "no run in common"),
        (load_study, lambda: Study("load", FACTS, []), "no run in common"),
    ],
)
def test_what_can_not_be_compared_is_refused(before, after, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare(before(), after())


@pytest.mark.slow
def test_a_server_that_has_not_changed_is_seldom_called_changed() -> None:
    """100 pairs of runs of one server: a change is found in about DOUBT of them, or fewer.

    12 or more have a chance of 4 in 1000 at 5 %.
    """
    runs = [load_study(rate=60.0, seconds=40.0, seed=seed) for seed in range(200)]
    found = [compare(one, other) for one, other in zip(runs[::2], runs[1::2], strict=True)]
    alarms = sum(bool(comparison.worse or comparison.better) for comparison in found)
    assert alarms < 12
