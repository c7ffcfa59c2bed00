"""A comparison on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from loadtest.report.compare import TOGETHER, VALIDITY, Change, Comparison, Meaning
from loadtest.report.sheets import Sheet
from loadtest.report.table import COLOURS, PLAIN_WIDTH, sheet_table
from loadtest.report.verdict import Tone
from loadtest.report.words import list_words, number_words

MEANINGS: dict[Meaning, str] = {
    "better": "better",
    "worse": "worse",
    "small": "too little to matter",
    "noise": "noise",
    "same": "the same",
    "unknown": "can't tell: too few requests",
}

MOST_NAMED = 3
"""Changes in a sentence."""

CAUTION = (
    "The ranges hold for all changes at once with 95% confidence, by what varies within a run. "
    "What differs from one start of a server to the next no single run can show: repeat both."
)


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints what differs in the facts, every change, and what it comes to."""
    console = console or Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if comparison.facts:
        sheet = Sheet("What is not the same", ["", "before", "after"], comparison.facts)
        console.print(sheet_table(sheet, figures=False))
    rows = [
        [
            change.run,
            change.figure,
            _value(change, change.before),
            _value(change, change.after),
            _by(change, change.by.value),
            _range(change),
            MEANINGS[change.meaning],
        ]
        for change in comparison.changes
    ]
    head = ["run", "", "before", "after", "change", "lies in", ""]
    console.print(sheet_table(Sheet("What has changed", head, rows)))
    console.print()
    for caution in comparison.cautions:
        console.print(Text.assemble(("! ", "bold yellow"), caution))
    console.print(CAUTION, style="dim", highlight=False)
    tone: Tone = "error" if comparison.worse else "warning" if comparison.open else "well"
    console.print(Text(sentence(comparison), f"bold {COLOURS[tone]}"))


def sentence(comparison: Comparison) -> str:
    """What it comes to."""
    said = [
        f"{word}: {_in_words(changes)}."
        for word, changes in (
            ("Worse", comparison.worse),
            ("Better", comparison.better),
            ("Too few requests to judge", comparison.open),
        )
        if changes
    ]
    return " ".join(said) or "Alike, as far as these runs can tell."


def _in_words(changes: Sequence[Change]) -> str:
    """The changes, of many those that matter most, first those of all runs together."""
    ordered = sorted(changes, key=lambda one: (one.run != TOGETHER, -abs(one.by.value) / one.least))
    words = [
        change.figure.removesuffix(", ms")
        + (f" of {change.run}" if change.run else "")
        + f" {_by(change, change.by.value) or _value(change, change.after)}"
        for change in ordered[:MOST_NAMED]
    ]
    more = len(ordered) - len(words)
    return list_words([*words, f"{more} more"] if more else words)


def _value(change: Change, value: float | None) -> str:
    if value is None:
        return ""
    if change.figure == VALIDITY:
        return "VALID" if value else "INVALID"
    if change.figure == "failed":
        return f"{value:.2%}"
    return f"{100 * value:.1f}" if change.plain else number_words(value)


def _by(change: Change, by: float) -> str:
    if change.figure == VALIDITY:
        return ""
    return f"{100 * by:+.2f} points" if change.plain else f"{by:+.1%}"


def _range(change: Change) -> str:
    by = change.by
    if by.low == by.high:
        return ""
    no_low = not math.isfinite(by.low) or (by.low <= -1.0 and not change.plain)
    if not math.isfinite(by.high):
        return "" if no_low else f"{_by(change, by.low)} or more"
    if no_low:
        return f"{_by(change, by.high)} or less"
    return f"{_by(change, by.low).removesuffix(' points')} to {_by(change, by.high)}"
