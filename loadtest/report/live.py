"""What is seen of a run while it lasts: a view that renews itself, or a line now and then."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.report.progress import PERCENTILES, Progress
from loadtest.report.words import ms_words
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load

TERMINAL_EVERY_S = 0.5
LINE_EVERY_S = 5.0

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 76
SPARKS = 52
"""Seconds that a sparkline shows."""

MOST_REASONS = 4
REASON_WIDTH = 22


class Face(Protocol):
    """How a run is shown, and how often."""

    every_s: float

    def show(self, progress: Progress) -> None:
        """Shows how things stand."""
        ...

    def end(self, progress: Progress) -> None:
        """Leaves a line about a run that is over."""
        ...


class View:
    """Is told of a command's runs on the event loop, and shows them from a thread of its own.

    A `Watch`, see `loadtest.traffic.trial`.
    """

    def __init__(self, face: Face) -> None:
        self.face = face
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="view", daemon=True)

    def __enter__(self) -> View:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self, title: str, load: Load) -> None:
        """A run begins. The one before it is over and leaves a line: the last one has a report."""
        with self._lock:
            if self._progress is not None:
                self.face.end(self._progress)
            self._progress = Progress(title, load)

    def sent(self) -> None:
        """A request starts."""
        if self._progress is not None:
            self._progress.sent()

    def tell(self, sample: Sample) -> None:
        """A request has ended."""
        if self._progress is not None:
            self._progress.tell(sample)

    def _renew(self) -> None:
        while not self._stopped.wait(self.face.every_s):
            with self._lock:
                if self._progress is not None:
                    self.face.show(self._progress)


@contextmanager
def open_view(console: Console | None = None) -> Iterator[View]:
    """A view on stderr, since stdout is the report's; lines where it is no terminal."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        with View(LineFace(console)) as view:
            yield view
        return
    # Cleared at its end: the report says all of it and more.
    live = Live(console=console, auto_refresh=False, transient=True)
    with live, View(TerminalFace(live)) as view:
        yield view


class LineFace:
    """A line every few seconds."""

    every_s = LINE_EVERY_S

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, progress: Progress) -> None:
        """Prints a line about how things stand."""
        self._print(f"{clock_words(progress)}: {standing(progress)}")

    def end(self, progress: Progress) -> None:
        """Prints the last line."""
        self._print(f"{progress.title}: {outcome(progress)}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class TerminalFace:
    """A picture that is drawn over and over."""

    every_s = TERMINAL_EVERY_S

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, progress: Progress) -> None:
        """Draws how things stand."""
        self._live.update(picture(progress), refresh=True)

    def end(self, progress: Progress) -> None:
        """Leaves a line above what comes next."""
        self._live.update("", refresh=True)
        colour = "red" if progress.failed else "green"
        line = Text.assemble(("● ", colour), (progress.title, "bold"), f"  {outcome(progress)}")
        self._live.console.print(line, overflow="ellipsis", no_wrap=True)


def clock_words(progress: Progress) -> str:
    """How long a run has lasted, of how long, where that is known."""
    elapsed = f"{progress.elapsed:.0f} s"
    return elapsed + (f" of {progress.seconds:.0f}" if math.isfinite(progress.seconds) else "")


def standing(progress: Progress) -> str:
    """How a run stands, in a line."""
    times = (f"{name} {ms_words(value)}" for name, value in progress.percentiles_ms().items())
    return ", ".join(
        [
            "warming up" if progress.warming_up else f"{progress.rate:.1f}/s answered",
            f"{progress.in_flight} in flight",
            *times,
            f"{progress.failed} failed",
            *(f"{count} x {why}" for why, count in progress.reasons.most_common(1)),
        ]
    )


def outcome(progress: Progress) -> str:
    """How a run ended, shorter."""
    times = (
        f"{name} {ms_words(value)}"
        for name, value in progress.percentiles_ms().items()
        if name in ("p50", "p99")
    )
    return ", ".join([f"{progress.rate:.1f}/s", *times, f"{progress.failed} failed"])


def picture(progress: Progress) -> RenderableType:
    """How a run stands, as a picture of about ten lines."""
    done = Text(clock_words(progress), "dim")
    head = Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right")
    head.add_row(Text(progress.title, "bold", overflow="ellipsis", no_wrap=True), done)
    done_s = min(progress.elapsed, progress.seconds)
    whole_s = progress.seconds if math.isfinite(progress.seconds) else None
    bar = ProgressBar(whole_s, done_s, WIDTH, complete_style="cyan")
    sides = Table.grid(padding=(0, 5))
    sides.add_row(_rates(progress), _times(progress), _ends(progress))
    frame = Table.grid()
    frame.add_column(width=WIDTH)
    for row in (head, bar, "", sides, "", _sparklines(progress)):
        frame.add_row(row)
    return Group("", frame)


def sparkline(values: Sequence[float]) -> str:
    """A bar for each value, the highest the most of them; a space for nothing."""
    most = max(values, default=0.0)
    return "".join(
        BARS[min(len(BARS) - 1, int(value / most * len(BARS)))] if value > 0 else " "
        for value in values
    )


def _rates(progress: Progress) -> Table:
    load = progress.load
    rows = [
        ("asked", f"{load.rate:.1f}/s") if load.rate else ("callers", str(load.callers)),
        ("answered", "warming up" if progress.warming_up else f"{progress.rate:.1f}/s"),
        ("in flight", f"{progress.in_flight:,}"),
    ]
    return _pairs(rows)


def _times(progress: Progress) -> Table:
    known = progress.percentiles_ms()
    names = [*(f"p{percent}" for percent in PERCENTILES), "slowest"]
    return _pairs([(name, ms_words(known[name]) if known else "-") for name in names])


def _ends(progress: Progress) -> Table:
    rows = [(Outcome.OK.value, f"{progress.outcomes[Outcome.OK]:,}", "")]
    rows += [(why, f"{n:,}", "red") for why, n in progress.reasons.most_common(MOST_REASONS)]
    return _pairs(rows)


def _pairs(rows: Sequence[tuple[str, str] | tuple[str, str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True, overflow="ellipsis", max_width=REASON_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    for name, value, *style in rows:
        grid.add_row(name, Text(value, *style))
    return grid


def _sparklines(progress: Progress) -> Table:
    seconds = progress.history()[-SPARKS:]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    answered = [second.answered for second in seconds]
    slowest = [second.slowest_ms for second in seconds]
    most = f"{max(answered, default=0)}"
    grid.add_row("answered/s", Text(sparkline(answered), "green"), most)
    grid.add_row("slowest", Text(sparkline(slowest), "cyan"), ms_words(max(slowest, default=0.0)))
    return grid
