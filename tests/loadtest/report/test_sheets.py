from __future__ import annotations

from dataclasses import replace

from loadtest.report.sheets import Sheet, seen_of, sheets_of
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

BY_SCALE = "By scale, closed loop: callers wait for their answers"


def named(study: Study) -> dict[str, Sheet]:
    return {sheet.title: sheet for sheet in sheets_of(study, seen_of(study))}


def run_of(latencies: list[float], **more: object) -> Trial:
    samples = [
        Sample(float(n), float(n), n + latency, Outcome.OK, 200, "", {"queue": 1e3 * latency}, 0, 2)
        for n, latency in enumerate(latencies)
    ]
    return Trial(Load(rate=1.0, seconds=float(len(latencies))), samples, 0.25, **more)


def test_a_single_run_is_told_in_detail() -> None:
    trial = run_of([0.010] * 50 + [0.020] * 50)
    refused = Sample(99.5, 99.5, 99.6, Outcome.REFUSED, 503, "503 queue_full", server=1)
    trial = replace(trial, samples=[*trial.samples, refused])
    sheets = named(Study("load", FACTS, [trial]))
    assert list(sheets) == [
        "Latency of the answers", "Stages in the server", "Outcomes", "Why requests failed",
        "Batch that an answer was in", "Servers", "The load test itself",
    ]  # fmt: skip
    rows = {row[0]: row[1] for row in sheets["Latency of the answers"].rows}
    assert rows == {
        "mean": "15.0", "p50": "10.0", "p90": "20.0", "p95": "20.0", "p99": "20.0",
        "slowest": "20.0",
    }  # fmt: skip
    assert sheets["Stages in the server"].rows == [["queue", "15.0", "10.0", "20.0"]]
    assert sheets["Outcomes"].rows == [["answered", "100", "99%"], ["refused", "1", "1%"]]
    assert sheets["Why requests failed"].rows == [["503 queue_full", "1"]]
    assert sheets["Batch that an answer was in"].rows == [["2", "100", "100%"]]
    assert sheets["Servers"].rows == [["http://a", "100", "100"], ["http://b", "1", "0"]]
    assert sheets["The load test itself"].rows == [
        ["late by, p99", "0.00 ms"], ["cores used", "0.25"],
    ]  # fmt: skip


def test_a_target_adds_the_goodput_of_a_single_run() -> None:
    study = Study("load", FACTS, [run_of([0.010] * 90 + [0.030] * 10)], p99_ms=20.0)
    sheet = named(study)["Requests answered within 20 ms"]
    (share, value, lies_in), per_s = sheet.rows
    assert (share, value) == ("in time", "90%")
    low, high = (float(end.rstrip("%")) for end in lies_in.split("-"))
    assert low < 90 < high <= 100
    assert per_s[:2] == ["in time, per s", "0.90"]
    assert per_s[2] == f"{low / 100:.2f}-{high / 100:.2f}"


def test_a_closed_loop_is_labelled() -> None:
    title = "Latency of the answers, closed loop: callers wait for their answers"
    assert title in named(load_study(rate=None, callers=4))
    assert title not in named(load_study())
    runs = named(search_study())["Runs"]
    assert runs.head[1] == "loop"
    assert [row[:2] for row in runs.rows] == [
        ["4 callers", "closed"], ["60/s", "open"], ["30/s", "open"], ["45/s", "open"],
    ]  # fmt: skip


def test_runs_at_even_gaps_are_named_so() -> None:
    run = run_of([0.010] * 3)
    even = replace(run, load=replace(run.load, process="constant"), scale=320)
    study = Study("load", FACTS, [run, even])
    assert [one.name for one in seen_of(study)] == ["1/s", "scale 320, 1/s constant"]


def test_several_runs_have_a_row_each() -> None:
    sheets = named(rates_study())
    assert list(sheets) == ["Runs", "Found"]
    runs = sheets["Runs"]
    assert [row[0] for row in runs.rows] == ["10/s", "40/s", "80/s"]
    assert "in time" not in runs.head  # there is no target
    assert sheets["Found"].rows == [["answers/s of a busy server", "99.0"]]


def test_a_target_adds_how_many_were_in_time() -> None:
    runs = named(search_study(p99_ms=30.0))["Runs"]
    in_time = [row[list(runs.head).index("in time")] for row in runs.rows]
    assert [row[0] for row in runs.rows] == ["4 callers", "60/s", "30/s", "45/s"]
    assert all(share.endswith("%") for share in in_time)


def test_scales_put_latency_beside_throughput_and_accuracy() -> None:
    study = scales_study()
    sheet = named(study)[BY_SCALE]
    assert list(sheet.head) == [
        "scale", "p50, ms", "lies in", "p99, ms", "answers/s", "lies in", "AP", "AP50", "failed",
    ]  # fmt: skip
    by_scale = {row[0]: dict(zip(sheet.head, row, strict=True)) for row in sheet.rows}
    assert list(by_scale) == ["320", "480"]
    assert (by_scale["480"]["AP"], by_scale["480"]["AP50"]) == ("50.0", "70.0")
    assert float(by_scale["320"]["p50, ms"]) < 15 < float(by_scale["480"]["p50, ms"])
    assert float(by_scale["320"]["answers/s"]) > 70 > float(by_scale["480"]["answers/s"])
    bare = [replace(trial, ap=None, ap50=None) for trial in study.trials]
    assert "AP" not in named(replace(study, trials=bare))[BY_SCALE].head


def test_a_scale_of_an_interrupted_sweep_has_dashes_for_what_was_not_run() -> None:
    study = scales_study()
    sheet = named(replace(study, trials=study.trials[:3]))[BY_SCALE]
    rows = {row[0]: dict(zip(sheet.head, row, strict=True)) for row in sheet.rows}
    assert (rows["320"]["answers/s"], rows["480"]["answers/s"]) != ("-", "-")
    assert rows["480"]["answers/s"] == "-"
    assert rows["480"]["p50, ms"] != "-"
    # The second "lies in" is that of the answers/s.
    assert sheet.rows[1][5] == "-"
    # Interrupted before anything counted.
    bare = replace(study.trials[3], samples=[], load=replace(study.trials[3].load, seconds=0.0))
    assert named(replace(study, trials=[*study.trials[:3], bare]))[BY_SCALE].rows[1][4] == "-"


def test_a_search_says_what_it_found() -> None:
    found = dict(named(search_study())["Found"].rows)
    assert found["highest rate within the target, requests/s"] == "32.0"
    assert found["no doubt about rates up to"] == "31.0"
    assert found["no doubt that it is too much from"] == "33.0"


def test_mlperf_has_loadgens_figures_beside_ours() -> None:
    assert named(mlperf_study())["Found"].rows == [["LoadGen p99, ms", "61.5"]]


def test_a_study_of_nothing_has_no_sheets() -> None:
    assert sheets_of(Study("load", FACTS, []), []) == []
    empty = Study("load", FACTS, [Trial(Load(rate=1.0), [], 0.0)])
    assert [sheet.title for sheet in sheets_of(empty, seen_of(empty))]


def test_failures_of_all_runs_are_added_up() -> None:
    study = rates_study(failing=0.2)
    why = dict(named(study)["Why requests failed"].rows)
    refused = sum(
        sample.why == "503 queue_full" for trial in study.trials for sample in trial.samples
    )
    assert why["503 queue_full"] == str(refused)
    assert load_study().trials[0].samples
