from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from loadtest.report.page import page_of, write_page
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Study, Trial
from tests.loadtest.report.studies import EVERY_KIND, FACTS, load_study, rates_study, scales_study


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def figures(page: Element) -> dict[str, Element]:
    """The plots by their titles, those of single runs left out."""
    wall = page.find(".//main/div[@class='charts']")
    return {} if wall is None else {words(one.find("h3")): one for one in wall}


def legend(figure: Element) -> list[str]:
    return [words(key) for key in figure.findall("p[@class='legend']/span")]


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("load", ["How the latencies are distributed", "Latency over time", "Where the time goes"]),
        ("mlperf", ["How the latencies are distributed", "Latency over time",
                    "Where the time goes"]),
        ("rates", ["Latency by load", "What is answered of what is asked",
                   "How the latencies are distributed", "Where the time goes"]),
        ("max-qps", ["Latency by load", "What is answered of what is asked",
                     "How the latencies are distributed", "Where the time goes"]),
        ("scales", ["Latency by scale", "Throughput by scale", "Accuracy against latency",
                    "How the latencies are distributed", "Where the time goes"]),
    ],
)  # fmt: skip
def test_a_study_has_the_plots_that_it_has_data_for(kind: str, titles: list[str]) -> None:
    assert list(figures(page_of(EVERY_KIND[kind]()))) == titles


def test_plots_without_data_are_left_out() -> None:
    study = scales_study()
    bare = [
        replace(
            trial,
            ap=None,
            ap50=None,
            samples=[replace(sample, stages={}) for sample in trial.samples],
        )
        for trial in study.trials
    ]
    assert list(figures(page_of(replace(study, trials=bare)))) == [
        "Latency by scale", "Throughput by scale", "How the latencies are distributed",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_one_answer_is_a_page_too(kind: str) -> None:
    study = EVERY_KIND[kind]()
    study = replace(
        study, trials=[replace(trial, samples=trial.samples[:1]) for trial in study.trials]
    )
    assert "p50" not in words(page_of(study).find(".//p[@class]"))


def test_no_plot_of_an_interrupted_sweep_takes_one_caller_for_a_busy_server() -> None:
    study = scales_study()
    alone = figures(page_of(replace(study, trials=study.trials[:1])))
    assert "Latency by scale" in alone
    assert "Throughput by scale" not in alone
    busy = figures(page_of(replace(study, trials=study.trials[1:2])))
    assert "Throughput by scale" in busy
    assert not {"Latency by scale", "Accuracy against latency"} & set(busy)


def test_the_page_says_that_a_loop_is_closed() -> None:
    closed = words(page_of(load_study(rate=None, callers=4)))
    assert "to 4 callers (closed loop: callers wait for their answers)" in closed
    assert "Latency of the answers, closed loop: callers wait for their answers" in closed


def test_nobody_answered_is_a_page_too() -> None:
    refused = [Sample(0.1, 0.1, 0.2, Outcome.CONNECTION, why="connection refused")]
    for samples in ([], refused):
        page = page_of(Study("load", FACTS, [Trial(Load(rate=1.0), samples, 0.0)]))
        assert "No answer to any of" in words(page)
    assert list(figures(page)) == ["Latency over time"]
    assert "No answer" in words(page_of(Study("rates", FACTS, [])))


def test_every_plot_says_what_it_shows() -> None:
    page = page_of(load_study(failing=0.02))
    svgs = page.findall(".//figure/svg")
    assert all(svg.get("role") == "img" for svg in svgs)
    told = [svg.find("title").text for svg in svgs]
    assert re.match(r"Share of the answers by latency: 50% within [\d.]+ ms, 90% within", told[0])
    assert re.search(r"over 20 s: \d+ answered, \d+ failed, the slowest answer after", told[1])
    assert re.match(r"Mean time of each stage. all answers: queue [\d.]+ ms, inference", told[2])


def test_lines_are_named_and_failures_have_a_colour() -> None:
    shown = figures(page_of(rates_study()))
    assert legend(shown["Latency by load"]) == ["p50", "p90", "p99"]
    assert legend(shown["How the latencies are distributed"]) == ["10/s", "40/s", "80/s"]
    keys = {
        failing: legend(figures(page_of(load_study(failing=failing)))["Latency over time"])
        for failing in (0.0, 0.2)
    }
    assert keys == {
        0.0: ["answered", "their median"],
        0.2: ["answered", "their median", "failed"],
    }


def test_warnings_stand_before_the_figures_and_facts_are_all_there() -> None:
    page = words(page_of(rates_study()))
    assert page.index("the last rate is near capacity") < page.index("Charts")
    for name, value in FACTS.items():
        assert f"{name}{value}" in page.replace(" ", "") or value in page


def test_each_of_several_runs_is_there_over_time() -> None:
    page = page_of(rates_study())
    runs = page.findall(".//details//figure/h3")
    assert [words(title) for title in runs] == ["10/s", "40/s", "80/s"]
    assert page_of(load_study()).find(".//details") is None


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    hostile = FACTS | {"model": "<script>alert(1)</script>", "servers": "http://x/?a=1&b=2"}
    path = tmp_path / "new" / "report.html"
    write_page(path, replace(load_study(), facts=hostile))
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(src|href)=|url\(|@import", html)


def test_a_long_run_makes_no_long_page(tmp_path: Path) -> None:
    short, long = tmp_path / "short.html", tmp_path / "long.html"
    write_page(short, load_study(rate=80.0, seconds=100.0))
    write_page(long, load_study(rate=80.0, seconds=1000.0))
    assert long.stat().st_size < 1.3 * short.stat().st_size < 100_000
