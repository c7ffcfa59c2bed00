from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree.ElementTree import Element

import pytest

from loadtest.report.plots import CLOUD, curves, distribution, over_time, trade_off
from loadtest.report.stacks import REST, stacks, stages_of
from loadtest.traffic.confidence import Interval
from loadtest.traffic.sample import Outcome, Sample

KNOWN = Interval(20.0, 18.0, 25.0)
OPEN = Interval(40.0, 30.0, math.inf)


def lines(chart: Element) -> list[list[tuple[float, float]]]:
    """The points of each line, in the drawing's own units."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.get("d"))]
        for path in chart.findall("path")
        if path.get("class").startswith("line")
    ]


def marks(chart: Element, kind: str) -> list[str]:
    return [one.get("class") for one in chart.iter() if kind in one.get("class", "").split()]


def test_a_distribution_never_falls_and_ends_with_the_slowest() -> None:
    chart = distribution("told", {"run": [*range(1, 1001), 100_000]}, None)
    (line,) = lines(chart)
    assert all(x1 <= x2 and y1 >= y2 for (x1, y1), (x2, y2) in pairwise(line))
    right = max(float(text.get("x")) for text in chart.iter("text") if text.text == "100,000")
    assert line[-1][0] == pytest.approx(right, abs=0.2)


def test_the_slowest_of_ten_lies_at_the_90_percent_that_were_faster() -> None:
    chart = distribution("told", {"run": range(1, 11)}, None)
    texts = {text.text: text for text in chart.iter("text")}
    assert "answers that were faster" in texts
    (line,) = lines(chart)
    grid = float(texts["90%"].get("y")) - 4
    assert line[-1][1] == pytest.approx(grid, abs=0.5)


def test_each_nine_is_as_tall_as_the_one_before() -> None:
    chart = distribution("told", {"run": range(1, 10_001)}, 2000.0)
    at = {text.text: float(text.get("y")) for text in chart.iter("text")}
    assert at["90%"] - at["99%"] == pytest.approx(at["99%"] - at["99.9%"], abs=0.2)
    # At 90% of 1 to 10,000 lies 9,000.
    ticks = {text.text: float(text.get("x")) for text in chart.iter("text")}
    (line,) = lines(chart)
    near = min(line, key=lambda point: abs(point[1] - (at["90%"] - 4)))
    span = (ticks["10,000"] - ticks["1"]) / 4
    assert 10 ** ((near[0] - ticks["1"]) / span) == pytest.approx(9000, rel=0.03)
    assert len(marks(chart, "target")) == 1


def test_over_time_keeps_the_slowest_of_many() -> None:
    samples = [Sample(n / 100, n / 100, n / 100 + 0.01, Outcome.OK) for n in range(20_000)]
    samples[12_345] = Sample(123.45, 123.45, 128.45, Outcome.OK)
    chart = over_time("told", samples, 200.0)
    cloud = next(path for path in chart.iter("path") if path.get("class") == "cloud s0")
    dots = re.findall(r"M([\d.]+) ([\d.]+)h0", cloud.get("d"))
    assert len(dots) <= CLOUD
    slow = min(dots, key=lambda dot: float(dot[1]))
    ticks = {
        text.text: float(text.get("x"))
        for text in chart.iter("text")
        if text.get("text-anchor") == "middle"
    }
    second = (float(slow[0]) - ticks["0"]) / (ticks["200"] - ticks["0"]) * 200
    assert second == pytest.approx(123.45, abs=0.1)


def test_over_time_draws_failures_in_their_own_colour() -> None:
    answered = [Sample(n, n, n + 0.01, Outcome.OK) for n in range(30)]
    refused = Sample(30.0, 30.0, 30.001, Outcome.REFUSED)
    assert not marks(over_time("told", answered, 31.0), "failed")
    assert len(marks(over_time("told", [*answered, refused], 31.0), "failed")) == 1


def test_an_interval_without_an_end_is_no_band() -> None:
    closed = curves("told", "x", {"p99": {1.0: KNOWN, 2.0: KNOWN}})
    assert (len(marks(closed, "band")), len(marks(closed, "mark"))) == (1, 0)
    opened = curves("told", "x", {"p99": {1.0: KNOWN, 2.0: OPEN}})
    assert (len(marks(opened, "band")), len(marks(opened, "mark"))) == (0, 1)


def test_points_say_their_figures_and_lines_run_from_left_to_right() -> None:
    chart = curves("told", "x", {"p99": {20.0: OPEN, 1.0: KNOWN}})
    told = [circle.find("title").text for circle in chart.iter("circle")]
    assert told == ["p99 at 1: 20.0 (18.0-25.0)", "p99 at 20: 40.0 (30.0 or more)"]
    (line,) = lines(chart)
    assert line[0][0] < line[1][0]


def test_levels_and_marks_have_words() -> None:
    chart = curves(
        "told", "x", {"p99": {1.0: KNOWN, 2.0: KNOWN}}, marks={"found": 1.5}, levels={"most": 30.0}
    )
    texts = [text.text for text in chart.iter("text")]
    assert {"found", "most"} <= set(texts)


def test_a_single_point_is_a_plot_too() -> None:
    assert len(list(curves("told", "x", {"p99": {5.0: KNOWN}}).iter("circle"))) == 1
    trade_off({"AP": {"480": (20.0, 0.5)}})


def test_the_trade_off_names_each_scale() -> None:
    chart = trade_off({"AP": {"320": (20.0, 0.4), "480": (40.0, 0.5)}})
    assert [text.text for text in chart.iter("text") if text.get("class") == "word"] == [
        "320", "480",
    ]  # fmt: skip
    told = [circle.find("title").text for circle in chart.iter("circle")]
    assert told == ["320: AP 40.0, 20.0 ms", "480: AP 50.0, 40.0 ms"]


def test_stages_and_the_rest_add_up_to_the_latency() -> None:
    samples = [
        Sample(0.0, 0.0, 0.010, Outcome.OK, stages={"queue": 2.0, "inference": 5.0}),
        Sample(0.0, 0.0, 0.030, Outcome.OK, stages={"inference": 15.0}),
        Sample(0.0, 0.0, 9.0, Outcome.OK),  # tells no stages
    ]
    assert stages_of(samples) == pytest.approx({"queue": 1.0, "inference": 10.0, REST: 9.0})
    assert stages_of(samples[2:]) == {}


def test_stacks_are_as_wide_as_their_milliseconds() -> None:
    chart = stacks({"one": {"queue": 10.0, "own": 30.0}, "two": {"queue": 20.0}}, "told")
    boxes = [(float(box.get("x")), float(box.get("width"))) for box in chart.iter("rect")]
    assert boxes[1][1] == pytest.approx(3 * boxes[0][1], abs=0.3)
    assert boxes[2][1] == pytest.approx(2 * boxes[0][1], abs=0.3)
    assert boxes[1][0] == pytest.approx(boxes[0][0] + boxes[0][1], abs=0.2)
    assert chart.find("rect/title").text == "queue: 10.0 ms"
