"""The plots of an evaluation report, as SVG files. Needs matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.evaluation.coco_metrics import IOU_THRESHOLDS, RECALLS
from model.evaluation.thresholds import GRID, ScoreSweep
from model.page.svg import SVG_STYLE, save_svg

STYLE: dict[Any, Any] = {
    **SVG_STYLE,
    "axes.edgecolor": "#9aa4b1",
    "font.size": 10,
    "grid.color": "#e6e9ed",
    "legend.columnspacing": 1.2,
    "legend.fontsize": 9,
    "legend.handlelength": 1.4,
    # A class may be called "$x$".
    "text.parse_math": False,
}
ABOVE: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
"""Where a legend hides no curve."""

MOST_CLASSES_WITH_NUMBERS = 20


def plot_class(
    path: Path, precision: NDArray[np.float64], sweep: ScoreSweep, threshold: float
) -> None:
    """Precision over recall at IoU .5, at .75 and on average, and the rates by score threshold.

    `precision` [10, 101]: of one class, see `CocoEvaluation`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        _label(left, "recall", "precision")
        _label(right, "score threshold", "precision, recall, F1 at IoU .5")
        for iou, colour in ((0.5, "#1f6feb"), (0.75, "#8250df")):
            row = precision[np.isclose(IOU_THRESHOLDS, iou)][0]
            label = f"AP{iou * 100:.0f} {row.mean():.3f}"
            left.plot(RECALLS, until_reached(row), color=colour, label=label)
        mean = precision.mean(axis=0)
        label = f"AP {mean.mean():.3f}"
        left.plot(RECALLS, until_reached(mean), color="#57606a", linestyle="--", label=label)
        left.legend(**ABOVE)
        rates = sweep.at(GRID)
        for name, colour in (("precision", "#1f6feb"), ("recall", "#d1570d"), ("f1", "#1a7f37")):
            right.plot(GRID, getattr(rates, name), color=colour, label=name.capitalize())
        right.axvline(threshold, color="#24292f", linewidth=0.8, linestyle=":")
        right.legend(**ABOVE)
        save_svg(figure, path)


def plot_confusion(path: Path, confusion: Mapping[str, Any]) -> None:
    """The confusion table as a picture, what is right in blue, errors in orange.

    Cells are shaded by their share of their row: of the objects of a class; those of the last row
    by their share of the column: of the detections of a class. `confusion`: as in
    `Assessment.document`.
    """
    table = np.array(confusion["counts"])
    size = len(table)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    share[-1] = table[-1] / np.maximum(table.sum(axis=0), 1)
    right = np.eye(size, dtype=bool)[:, :, None]
    share[-1, -1] = 0.0
    shades = np.where(right, mpl.colormaps["Blues"](share), mpl.colormaps["Oranges"](share))
    with mpl.rc_context({**STYLE, "axes.grid": False}), warnings.catch_warnings():
        # matplotlib measures with its own font; the reader's has the glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        side = max(3.2, 0.62 * size if size <= MOST_CLASSES_WITH_NUMBERS else 0.17 * size)
        figure = Figure(figsize=(side + 1.4, side + 0.6), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shades)
        if size <= MOST_CLASSES_WITH_NUMBERS:
            for (row, column), count in np.ndenumerate(table):
                colour = "white" if share[row, column] > 0.55 else "#24292f"
                axes.text(
                    column, row, f"{count:,}" if count else "", ha="center", va="center",
                    color=colour,
                )  # fmt: skip
        axes.set_xticks(range(size), confusion["found as"], rotation=90 if size > 6 else 0)
        axes.set_yticks(range(size), confusion["labelled as"])
        axes.set_xlabel("found as")
        axes.set_ylabel("labelled as")
        axes.tick_params(length=0)
        save_svg(figure, path)


def until_reached(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision by recall without the zeros at its end, where lines end.

    COCO writes 0 at recalls that no threshold reaches, where there is no precision.
    """
    reached = np.flatnonzero(precision)
    end = reached[-1] + 1 if len(reached) else 0
    return np.where(np.arange(len(precision)) < end, precision, np.nan)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(0.0, 1.0), ylim=(0.0, 1.02))
