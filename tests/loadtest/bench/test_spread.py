from __future__ import annotations

from loadtest.bench.spread import Spread


def test_spread_is_the_middle_eighty_percent() -> None:
    assert Spread.of([float(value) for value in range(101)]) == Spread(50.0, 10.0, 90.0)


def test_spread_in_words() -> None:
    assert Spread(1.234, 1.0, 2.5).text() == "1.23 (1.00-2.50)"
