from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from loadtest.report.compare import Change, Comparison, compare
from loadtest.report.difference import print_comparison, sentence
from loadtest.traffic.confidence import Interval
from tests.loadtest.report.studies import (
    load_study,
    mlperf_study,
    scales_study,
    search_study,
)


def change(run: str, by: float, **more: object) -> Change:
    return Change(run, "p99, ms", 10.0, 10.0 * (1 + by), Interval(by, by - 0.01, by + 0.01), **more)


def printed(comparison: Comparison) -> str:
    console = Console(file=io.StringIO())
    print_comparison(comparison, console)
    return console.file.getvalue()


def test_the_sentence_names_what_matters_most() -> None:
    changes = [change("all runs", 0.1), *(change(f"{n}/s", n / 10) for n in (2, 3, 4))]
    changes.append(change("5/s", -0.5))
    assert sentence(Comparison([], changes, [])) == (
        "Worse: p99 of all runs +10.0%, p99 of 4/s +40.0%, p99 of 3/s +30.0% and 1 more. "
        "Better: p99 of 5/s -50.0%."
    )
    unknown = replace(changes[0], by=Interval(0.5, -1.0, float("inf")))
    assert sentence(Comparison([], [unknown], [])) == (
        "Too few requests to judge: p99 of all runs +50.0%."
    )
    unimportant = replace(changes[0], by=Interval(0.01, -1.0, float("inf")))
    assert sentence(Comparison([], [unimportant], [])).startswith("Alike")
    assert sentence(Comparison([], [], [])) == "Alike, as far as these runs can tell."


def test_every_change_has_its_row_with_its_range_and_meaning() -> None:
    text = printed(
        Comparison(
            [("model", "old", "new")],
            [
                change("5/s", 0.2),
                Change("5/s", "p50, ms", 10.0, 11.0, Interval(0.1, -1.0, float("inf"))),
                Change("5/s", "failed", 0.0, 0.02, Interval(0.02, 0.01, 0.03), 0.001, plain=True),
                Change("s", "AP", 0.5, 0.48, Interval(-0.02, -0.02, -0.02), 0.005, False, True),
            ],
            ["mind the gap"],
        )
    )
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row in (
        "model old new",
        "5/s p99, ms 10.0 12.0 +20.0% +19.0% to +21.0% worse",
        "5/s p50, ms 10.0 11.0 +10.0% can't tell: too few requests",
        "5/s failed 0.00% 2.00% +2.00 points +1.00 to +3.00 points worse",
        "s AP 50.0 48.0 -2.00 points worse",
        "! mind the gap",
    ):
        assert row in rows
    assert any(row.startswith("Worse: ") for row in rows)


def test_an_mlperf_verdict_is_told_in_mlperfs_words() -> None:
    comparison = compare(mlperf_study(), mlperf_study(valid=False))
    text = printed(comparison)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "MLPerf's verdict VALID INVALID worse" in rows
    assert sentence(comparison) == "Worse: MLPerf's verdict INVALID."


def test_studies_of_every_size_can_be_printed() -> None:
    for before, after in (
        (load_study(), load_study(seed=1)),
        (scales_study(), scales_study(slower=1.3)),
        (search_study(), search_study(0.0, 0.0, 5.0)),
    ):
        assert "can show: repeat both." in " ".join(printed(compare(before, after)).split())
