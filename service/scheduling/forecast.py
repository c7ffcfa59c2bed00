"""How long runs and decoding take, by those measured, to tell which deadlines can't be met.

A figure that nobody has confirmed for a while must not refuse anybody: if it is too high, what it
refuses would never run and never correct it. So it counts as nothing for the image that would
measure it anew (`trusted`), and that measurement replaces it. A longer one does not, it may be a
hiccup: it counts like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from model.letterbox import Canvas

NEWEST = 1 / 8
"""Weight of a new measurement in the mean. Source: RFC 6298, sec. 2, alpha."""

MEAN_ERROR = NEWEST / (2 - NEWEST)
"""Variance of such a mean, as a part of the variance of what it is the mean of."""

OUTLIER = 4.0
"""A measurement counts for at most so many times the mean: one hiccup must not refuse hundreds."""

FIRST_DEVIATION = 1 / 4
"""Of the first measurement: how far the next one may be off."""

DEVIATIONS = 2.33
"""A time may be so many standard deviations longer than its mean: 99 % are not, if normal."""

STALE_S = 1.0
STALE_TIMES = 10.0
"""A figure is stale after this many seconds, or this many times itself, whichever is longer: a
caller whose timeout_ms never suffices can waste a tenth of the engine by being let through."""


@dataclass(frozen=True)
class Span:
    """A time to come: its mean in seconds and its variance. Spans one after the other add up."""

    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.mean + other.mean, self.variance + other.variance)

    def times(self, count: int) -> Span:
        """So many of them one after the other: the error of their common mean adds up as well."""
        return Span(self.mean * count, self.variance * count * (1 + count * MEAN_ERROR))

    @property
    def at_most(self) -> float:
        """Seconds that it rarely exceeds."""
        return self.mean + DEVIATIONS * math.sqrt(self.variance)


class Figure:
    """What is known of one kind of work, the latest measurements counting most.

    Source: T. Finch, 'Incremental calculation of weighted mean and variance' (2009), sec. 9.
    """

    def __init__(self) -> None:
        self.span = Span()
        self._measured_at: float | None = None

    def guess(self, seconds: float) -> None:
        """Takes a time to start from, which a shorter first measurement replaces."""
        self.span = Span(seconds, (seconds * FIRST_DEVIATION) ** 2)

    def measure(self, seconds: float, now: float) -> None:
        """Takes a measurement into account."""
        if not self.span.mean or (self.is_stale(now) and seconds < self.span.mean):
            self.guess(seconds)
        else:
            off = min(seconds, OUTLIER * self.span.mean) - self.span.mean
            self.span = Span(
                self.span.mean + NEWEST * off,
                (1 - NEWEST) * (self.span.variance + NEWEST * off * off),
            )
        self._measured_at = now

    def is_stale(self, now: float) -> bool:
        """Whether the last measurement, if there is one, lies too far back."""
        if self._measured_at is None:
            return True
        return now - self._measured_at > max(STALE_S, STALE_TIMES * self.span.mean)


class Forecast:
    """Times of runs by canvas and number of images, and of decoding in so many threads."""

    def __init__(self, decode_threads: int = 1) -> None:
        self._decode_threads = decode_threads
        self._runs: dict[tuple[Canvas, int], Figure] = {}
        self._decoding = Figure()

    def warmed(self, canvas: Canvas, size: int, seconds: float) -> None:
        """Takes a run of the warm-up, slower than later ones as a rule: where to start from."""
        self._runs.setdefault((canvas, size), Figure()).guess(seconds)

    def ran(self, canvas: Canvas, size: int, seconds: float, now: float) -> None:
        """Takes a run into account."""
        self._runs.setdefault((canvas, size), Figure()).measure(seconds, now)

    def decoded(self, seconds: float, ahead: int, now: float) -> None:
        """Takes a decoding into account, the wait for those that were ahead of it included."""
        self._decoding.measure(seconds / self._turn(ahead), now)

    def run(self, canvas: Canvas, size: int, now: float) -> Span:
        """A run to come; nothing where nothing like it has been measured.

        Where the figure is stale, no longer than the images one by one: else a figure that is too
        high could keep batches of this size from ever being formed, and so measured.
        """
        figure = self._runs.get((canvas, size))
        if size > 1 and (figure is None or figure.is_stale(now)):
            one_by_one = self.run(canvas, 1, now).times(size)
            return one_by_one if figure is None else min(figure.span, one_by_one, key=_mean)
        return Span() if figure is None else figure.span

    def trusted_run(self, canvas: Canvas, size: int, now: float) -> Span:
        """A run to come as far as it may refuse the very image that would measure it.

        Where the figure is stale, that of a lone image, which a batch takes at the least.
        """
        figure = self._runs.get((canvas, size))
        if figure is not None and not figure.is_stale(now):
            return figure.span
        return self.trusted_run(canvas, 1, now) if size > 1 else Span()

    def trusted_decoding(self, ahead: int, now: float) -> Span:
        """A decoding to come, as far as it may refuse the very image that would measure it.

        It waits for those ahead: what a burst waited says nothing of an image that comes after it.
        """
        if self._decoding.is_stale(now):
            return Span()
        return self._decoding.span.times(self._turn(ahead))

    def _turn(self, ahead: int) -> int:
        """In which round of the threads an image is decoded with so many ahead of it, from 1."""
        return ahead // self._decode_threads + 1


def total(spans: Iterable[Span]) -> Span:
    """Spans one after the other."""
    return sum(spans, Span())


def _mean(span: Span) -> float:
    return span.mean
