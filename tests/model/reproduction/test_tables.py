"""Figures in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.reproduction.study import Outcome
from model.reproduction.tables import compared, points, table, values_of


def runs(*values: float, stopped: str = "") -> list[Outcome]:
    return [Outcome(Path(), {"AP": value}, stopped, None) for value in values]


def test_table_is_markdown() -> None:
    assert (
        table(("a", "b"), [(1, "x"), (2, "y")])
        == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2 | y |\n"
    )


def test_points_of_one_run_have_no_spread() -> None:
    assert points(runs(0.3412)) == "34.1"


def test_points_of_several_runs_are_mean_and_standard_deviation() -> None:
    # Mean 32, deviations -2, 0, 2: sqrt(8 / 2) = 2.
    assert points(runs(0.30, 0.32, 0.34)) == "32.0 ± 2.0"


def test_points_of_a_run_that_diverged_say_so() -> None:
    assert points([*runs(0.3), *runs(0.0, stopped="step 3: class loss nan")]) == "stopped"


def test_measure_without_ground_truth_counts_as_zero() -> None:
    outcome = Outcome(Path(), {"AP": 0.3, "AP75": None}, "", None)
    assert values_of([outcome], "AP75") == [0.0]


def test_gain_comes_with_the_standard_error_of_the_difference() -> None:
    # Variances 4 and 1 of two runs each: sqrt(4 / 2 + 1 / 2) = 1.58.
    gain = compared(runs(0.30, 0.30 + 0.02 * 2**0.5), runs(0.20, 0.20 + 0.01 * 2**0.5))
    assert gain.startswith("+10.7 ± 1.6 points")


@pytest.mark.parametrize("single", [runs(0.3), runs(0.3, 0.31)])
def test_gain_over_a_single_run_has_no_error(single: list[Outcome]) -> None:
    assert "noise unknown" in compared(single, runs(0.2))
