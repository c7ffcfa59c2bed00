"""How a report writes figures, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loadtest.traffic.confidence import Interval


def number_words(value: float) -> str:
    """A number in three digits or more: 4.21, 37.5, 1,204; a dash for NaN."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "∞" if value > 0 else "-∞"
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{places}f}"


def ms_words(value: float) -> str:
    """Milliseconds in three digits or more: 4.21 ms, 37.5 ms, 1,204 ms."""
    return f"{number_words(value)} ms"


def range_words(interval: Interval) -> str:
    """Where the truth may lie: `35.1-41.2`; `35.1 or more` where only more requests could tell."""
    if not math.isfinite(interval.high):
        return f"{number_words(interval.low)} or more" if interval.low > 0 else "not known"
    return f"{number_words(max(interval.low, 0.0))}-{number_words(interval.high)}"


def share_words(share: float) -> str:
    """A share as percents that never round to nothing or all: 0.04%, 99.98%, 12%."""
    for places in range(7):
        text = f"{share:.{places}%}"
        if float(text[:-1]) not in (0.0, 100.0) or share in (0.0, 1.0):
            break
    return text


def list_words(items: Sequence[str]) -> str:
    """Items as a sentence lists them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def count_words(count: int, one: str) -> str:
    """A count with its noun: `1 run`, `1,204 runs`."""
    return f"{count:,} {one}{'s' * (count != 1)}"
