from __future__ import annotations

import io
import math
import re
import threading

from rich.console import Console

from loadtest.report.live import (
    LineFace,
    TerminalFace,
    View,
    clock_words,
    open_view,
    picture,
    sparkline,
)
from loadtest.report.progress import Progress
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load

LOAD = Load(rate=10.0, seconds=8.0, warm_up_s=0.0)
ANSWERED = Sample(0.0, 0.0, 0.025, Outcome.OK, 200)
REFUSED = Sample(0.0, 0.0, 0.001, Outcome.REFUSED, 503, "503 queue_full")


class Times:
    """A clock that stands still."""

    def __call__(self) -> float:
        return 0.0


class Recorder:
    """A face that says when it has shown something."""

    every_s = 0.001

    def __init__(self) -> None:
        self.shown = threading.Event()
        self.ended: list[Progress] = []

    def show(self, progress: Progress) -> None:
        self.shown.set()

    def end(self, progress: Progress) -> None:
        self.ended.append(progress)


def drawn(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(picture(progress))
    return console.file.getvalue()


def some_progress() -> Progress:
    progress = Progress("10 requests/s (poisson)", LOAD, Times())
    for sample in (ANSWERED, ANSWERED, REFUSED):
        progress.sent()
        progress.tell(sample)
    progress.sent()
    return progress


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline([0.0, 1.0, 4.0, 7.9, 8.0]) == " ▂▅██"
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "  "


def test_the_picture_says_how_things_stand() -> None:
    text = drawn(some_progress())
    for words in (
        "10 requests/s (poisson)", "0 s of 8", "asked", "10.0/s", "in flight", "p50", "25.0 ms",
        "503 queue_full",
    ):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_picture_of_nothing_yet_is_one_too() -> None:
    assert "warming up" not in drawn(Progress("a run", LOAD, Times()))
    waiting = Progress("a run", Load(callers=3, warm_up_s=5.0), Times())
    text = drawn(waiting)
    assert "warming up" in text
    assert "callers" in text


def test_a_long_reason_stays_on_its_line() -> None:
    progress = some_progress()
    progress.tell(Sample(0.0, 0.0, 0.1, Outcome.CONNECTION, why="reason " * 20))
    assert len(drawn(progress).splitlines()) == len(drawn(some_progress()).splitlines())


def test_a_view_shows_its_run_and_ends_it_with_the_next() -> None:
    face = Recorder()
    with View(face) as view:
        view.sent()  # of no run: ignored
        view.tell(ANSWERED)
        view.begin("first", LOAD)
        view.sent()
        view.tell(ANSWERED)
        assert face.shown.wait(30)
        view.begin("second", LOAD)
        assert [one.title for one in face.ended] == ["first"]
        assert face.ended[0].outcomes == {Outcome.OK: 1}
        assert face.ended[0].started == 1
    assert len(face.ended) == 1  # of the last, the report tells


def test_what_is_no_terminal_gets_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    with open_view(console) as view:
        assert isinstance(view.face, LineFace)
        view.face.show(some_progress())
        view.face.end(some_progress())
    first, last = console.file.getvalue().splitlines()
    assert first.startswith("0 s of 8: ")
    assert first.endswith(
        "1 in flight, p50 25.0 ms, p90 25.0 ms, p99 25.0 ms, slowest 25.0 ms, 1 failed, "
        "1 x 503 queue_full"
    )
    assert last.startswith("10 requests/s (poisson): ")
    assert last.endswith("p50 25.0 ms, p99 25.0 ms, 1 failed")
    assert "\x1b" not in console.file.getvalue()


def test_a_terminal_keeps_a_line_of_each_run_and_no_picture() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with open_view(console) as view:
        assert isinstance(view.face, TerminalFace)
        view.begin("one [run]", LOAD)
        view.face.show(some_progress())
        view.begin("the next", LOAD)
    written = console.file.getvalue()
    assert "in flight" in written
    assert "● one [run]" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)
    assert "the next" not in written


def test_of_a_run_without_a_known_end_only_the_time_is_told() -> None:
    endless = Load(callers=4, seconds=math.inf, warm_up_s=0.0)
    assert clock_words(Progress("AP", LOAD, Times())) == "0 s of 8"
    assert clock_words(Progress("AP", endless, Times())) == "0 s"
    picture(Progress("AP", endless, Times()))
