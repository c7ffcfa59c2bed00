"""Plots as SVG files that are the same on every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from model.page.svg import SVG_STYLE, save_svg

STYLE: dict[Any, Any] = {**SVG_STYLE, "grid.alpha": 0.3}
PANEL_INCHES = (5.0, 3.6)


@contextmanager
def panels(path: Path, count: int = 1) -> Iterator[Sequence[Any]]:
    """Axes side by side to draw on; written to `path` in the end. Lines without a label stay out
    of the legend, and an axis without any has none.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(PANEL_INCHES[0] * count, PANEL_INCHES[1]), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        yield axes
        for axis in axes:
            if axis.get_legend_handles_labels()[1]:
                axis.legend()
        save_svg(figure, path)
