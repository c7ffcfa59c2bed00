"""Where values lie along a side of a chart, and which of them are written there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One side of a chart from `low` to `high`. `ticks`: values that are written, and how.

    `even`: what grows evenly along it, for example log10 of the values.
    """

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]
    even: Callable[[float], float] = float

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1; what lies outside is at the end."""
        first, last = self.even(self.low), self.even(self.high)
        return (self.even(min(max(value, self.low), self.high)) - first) / (last - first)


def linear(label: str, values: Iterable[float], ticks: int = 6, zero: bool = True) -> Axis:
    """An axis with even steps of 1, 2 or 5 times a power of ten; from 0 unless `zero` is off."""
    given = list(values)
    low, high = (0.0 if zero else min(given)), max(given)
    if low == high:
        low, high = (0.0, high or 1.0) if zero or low > 0 else (low - 1.0, high + 1.0)
    step = round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = max(0, -math.floor(math.log10(step)))
    marks = {round(at * step, places): f"{at * step:,.{places}f}" for at in range(first, last + 1)}
    return Axis(label, first * step, last * step, marks)


def logarithmic(label: str, values: Iterable[float]) -> Axis:
    """An axis whose steps are factors: 1, 2, 5, 10 ..., or powers of ten where that is too many."""
    given = [value for value in values if value > 0]
    low, high = min(given), max(given)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
    factors = (1, 2, 5) if high / low < 1e3 else (1,)
    marks = [factor * 10.0**power for power in range(first, last) for factor in factors]
    below = max((mark for mark in marks if mark <= low), default=marks[0])
    above = min((mark for mark in marks if mark >= high and mark > below), default=10.0**last)
    shown = [mark for mark in [*marks, above] if below <= mark <= above]
    return Axis(label, below, above, {mark: f"{mark:,.10g}" for mark in shown}, math.log10)


def nines(label: str, most: float) -> Axis:
    """Shares of all up to `most`, each next nine as tall as the one before: 0, 90%, 99%, 99.9%."""
    marks = {0.0: "0", 0.5: "50%", 0.9: "90%", 0.99: "99%", 0.999: "99.9%", 0.9999: "99.99%"}
    shown = {share: text for share, text in marks.items() if share <= most}
    return Axis(label, 0.0, most, shown, lambda share: -math.log10(1.0 - share))


def round_step(least: float) -> float:
    """The least of ... 0.1, 0.2, 0.5, 1, 2, 5 ... that is at least so much."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= least * (1 - 1e-9))
