"""The closed-form figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.reproduction.curves import figure_1, figure_5, figure_6, figure_7

BLUE, RED = "#1f77b4", "#d62728"


@pytest.mark.parametrize("draw", [figure_1, figure_5, figure_6])
def test_figure_is_a_file_that_is_always_the_same(tmp_path: Path, draw: object) -> None:
    for name in ("a.svg", "b.svg"):
        draw(tmp_path / name)  # type: ignore[operator]
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "<dc:date>" not in text


def test_figure_7_shows_effective_settings_in_blue(tmp_path: Path) -> None:
    effective = {(2.0, 1.0): True, (4.0, 0.0): True, (0.5, 0.0): False}
    figure_7(tmp_path / "f.svg", effective)
    text = (tmp_path / "f.svg").read_text(encoding="utf-8")
    # Each curve, and one entry of the legend for each colour.
    assert text.count(f"stroke: {BLUE}") == 3
    assert text.count(f"stroke: {RED}") == 2
    assert ">2, 1<" in text
