"""Where values lie on an axis, and which are written."""

from __future__ import annotations

import math

import pytest

from model.page.axis import linear, logarithmic, nines, round_step


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3.0, 53.0], ["0", "10", "20", "30", "40", "50", "60"]),
        ([0.2], ["0.00", "0.05", "0.10", "0.15", "0.20"]),
        ([12_000.0], ["0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"]),
        ([0.0, 0.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_linear_steps_are_round_and_begin_at_nothing(values: list[float], ticks: list[str]) -> None:
    assert list(linear("x", values).ticks.values()) == ticks


def test_linear_without_zero_keeps_to_its_values() -> None:
    axis = linear("scale", [320.0, 800.0], zero=False)
    assert (axis.low, axis.high) == (300.0, 800.0)
    alone = linear("scale", [480.0], zero=False)
    assert alone.low < 480.0 < alone.high or alone.low <= 480.0 <= alone.high
    assert math.isfinite(alone.place(480.0))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3.0, 53.0], ["2", "5", "10", "20", "50", "100"]),
        ([0.04, 900.0], ["0.01", "0.1", "1", "10", "100", "1,000"]),
        ([10.0, 10.0], ["10", "20"]),
        ([0.0, 8.0], ["5", "10"]),
    ],
)
def test_logarithmic_steps_hold_all_values(values: list[float], ticks: list[str]) -> None:
    axis = logarithmic("ms", values)
    assert list(axis.ticks.values()) == ticks
    assert all(axis.low <= value <= axis.high for value in values if value > 0)


def test_places_are_shares_and_outside_is_at_the_end() -> None:
    axis = logarithmic("ms", [1.0, 100.0])
    assert [axis.place(value) for value in (1.0, 10.0, 100.0)] == [0.0, 0.5, 1.0]
    assert [axis.place(value) for value in (0.1, math.inf, -math.inf)] == [0.0, 1.0, 0.0]


def test_each_nine_has_the_same_room() -> None:
    axis = nines("share", 0.9995)
    assert list(axis.ticks.values()) == ["0", "50%", "90%", "99%", "99.9%"]
    assert axis.place(0.99) - axis.place(0.9) == pytest.approx(axis.place(0.9) - axis.place(0.0))


@pytest.mark.parametrize(
    ("least", "step"), [(1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (6.0, 10.0), (0.021, 0.05)]
)
def test_steps_are_round(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)
