"""Latency against scale, and AP against latency: the paper's Figure 2 for this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from loadtest.bench.paper import DEVICE, TABLE_1E, Point
from loadtest.bench.row import Row

PANEL_INCHES = (5.0, 3.6)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the plot, an SVG file.

    The second panel is there where an AP is known: a bundle's own, by its manifest, on the data
    that it was exported with. The paper's points are of its own weights, on COCO test-dev and an
    M40, and say so: nothing of them is this machine's.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from model.page.svg import SVG_STYLE, save_svg

    papers = {name: TABLE_1E[name] for name in sorted({row.paper_of for row in rows} - {""})}
    panels = 1 + (bool(papers) or any(row.ap is not None for row in rows))
    with rc_context({**SVG_STYLE, "grid.alpha": 0.3}):
        figure = Figure(figsize=(PANEL_INCHES[0] * panels, PANEL_INCHES[1]), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        _by_scale(axes[0], rows, papers)
        if panels > 1:
            _by_ap(axes[1], rows, papers)
        for axis in axes:
            axis.legend()
        save_svg(figure, path)


def _by_scale(axis: Any, rows: Sequence[Row], papers: dict[str, dict[int, Point]]) -> None:
    for label, line in _lines(rows):
        middle = [row.total.median for row in line]
        reach = [
            [row.total.median - row.total.p10 for row in line],
            [row.total.p90 - row.total.median for row in line],
        ]
        axis.errorbar([row.scale for row in line], middle, reach, fmt="o-", capsize=3, label=label)
    for name, points in papers.items():
        axis.plot(
            list(points), [point.ms for point in points.values()], "x:", label=_paper_label(name)
        )
    axis.set(xlabel="scale, px", ylabel="ms per image")
    axis.set_ylim(bottom=0)


def _by_ap(axis: Any, rows: Sequence[Row], papers: dict[str, dict[int, Point]]) -> None:
    for label, line in _lines(rows):
        known = [(row.total.median, 100 * row.ap) for row in line if row.ap is not None]
        if known:
            axis.plot(*zip(*known, strict=True), "o-", label=f"{label}, its own data")
    for name, points in papers.items():
        aps = [point.ap for point in points.values()]
        times = [point.ms for point in points.values()]
        axis.plot(times, aps, "x:", label=f"{_paper_label(name)}, COCO test-dev")
    axis.set(xlabel="ms per image", ylabel="AP, points")


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each model, engine, precision and batch, by scale."""

    def key(row: Row) -> tuple[str, str, str, int]:
        return row.model, row.engine, row.precision, row.batch

    for (model, engine, precision, batch), line in groupby(sorted(rows, key=key), key):
        label = f"{model} {engine} {precision}, batch {batch}"
        yield label, sorted(line, key=lambda row: row.scale)


def _paper_label(name: str) -> str:
    return f"{name}, the paper's, {DEVICE}"
