"""Throughput and the share of the time that is spent waiting."""

from __future__ import annotations

import pytest

from model.training.meter import Meter
from model.training.progress import duration


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def metered(*steps: tuple[float, float]) -> Meter:
    """A meter of 4 images a step, after steps of (waiting, working) seconds."""
    clock = Clock()
    meter = Meter(4, clock)
    for waited, worked in steps:
        with meter.waiting():
            clock.now += waited
        with meter.working():
            clock.now += worked
        clock.now += 100.0  # an evaluation
    return meter


def test_last_step_alone() -> None:
    pace = metered((9.0, 9.0), (0.5, 1.5)).pace(1)
    assert pace == (2.0, 0.5, 2.0)
    assert pace.wait_share == 0.25


def test_average_of_the_window() -> None:
    pace = metered((0.0, 1.0), (1.0, 2.0)).pace()
    assert pace == (2.0, 0.5, 2.0)


def test_window_forgets() -> None:
    assert metered((50.0, 50.0), *[(0.0, 1.0)] * 50).pace().step_s == 1.0


def test_before_the_first_step_nothing_is_divided_by_zero() -> None:
    pace = metered().pace()
    assert (pace.step_s, pace.images_per_s, pace.wait_share) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5_900, "98 min"), (6_000, "1 h 40 min")],
)
def test_duration_for_a_person(seconds: float, text: str) -> None:
    assert duration(seconds) == text
