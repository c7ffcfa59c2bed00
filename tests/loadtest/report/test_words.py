from __future__ import annotations

import math

import pytest

from loadtest.report.words import (
    count_words,
    list_words,
    ms_words,
    number_words,
    range_words,
    share_words,
)
from loadtest.traffic.confidence import Interval


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0.00"), (4.2149, "4.21"), (9.999, "10.0"), (37.46, "37.5"), (99.96, "100"),
        (1204.4, "1,204"), (math.nan, "-"), (math.inf, "∞"), (-math.inf, "-∞"), (-42.12, "-42.1"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_or_more(value: float, words: str) -> None:
    assert number_words(value) == words
    assert ms_words(value) == f"{words} ms"


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0%"), (1.0, "100%"), (0.117, "12%"), (0.004, "0.4%"), (0.9998, "99.98%"),
     (0.999999, "99.9999%"), (0.00004, "0.004%")],
)  # fmt: skip
def test_shares_round_neither_to_nothing_nor_to_all(share: float, words: str) -> None:
    assert share_words(share) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(35.12, 41.21, "35.1-41.2"), (35.12, math.inf, "35.1 or more"), (0.0, math.inf, "not known"),
     (-math.inf, 4.0, "0.00-4.00"), (-math.inf, math.inf, "not known")],
)  # fmt: skip
def test_ranges_say_what_is_not_known(low: float, high: float, words: str) -> None:
    assert range_words(Interval(38.0, low, high)) == words


def test_lists_and_counts_are_sentences() -> None:
    assert list_words([]) == ""
    assert list_words(["a"]) == "a"
    assert list_words(["a", "b"]) == "a and b"
    assert list_words(["a", "b", "c"]) == "a, b and c"
    assert count_words(1, "request") == "1 request"
    assert count_words(1200, "request") == "1,200 requests"
