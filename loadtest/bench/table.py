"""Rows as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from loadtest.bench.paper import DEVICE
from loadtest.bench.row import Ratio, Row
from loadtest.bench.stages import STAGES

INCLUDED = (
    "Medians (10th-90th percentile). ms is per image: preprocess, from a picture's bytes to a "
    "filled canvas on one core; the engine, from the uint8 canvas to detections, each engine in a "
    "process of its own that takes turns with the others; finish, the way back to image pixels. "
    "Stages are shares of that: trunk is normalisation, backbone and FPN; candidates is top-k and "
    "box decoding. Not included: HTTP, queueing, JSON. GFLOP/s counts the convolutions, a "
    "multiply-add as two, over the engine's time; the peak is that of a matrix product in ONNX "
    "Runtime in the same precision, on all cores. MB: the most that the engine's process had "
    "resident so far. found: detections in an image."
)


def report(head: Sequence[str], rows: Sequence[Row], ratios: Sequence[Ratio]) -> str:
    """The tables, the ratios and what they mean."""
    lines = [*head, "", *_times(rows), "", *_stages(rows), *([""] if ratios else [])]
    lines += [
        f"{ratio.model}, scale {ratio.scale}, batch {ratio.batch}: {ratio.fast} is "
        f"{ratio.times.text()} times as fast as {ratio.slow}"
        for ratio in ratios
    ]
    return "\n".join([*lines, "", textwrap.fill(INCLUDED, 100)])


def _times(rows: Sequence[Row]) -> Iterator[str]:
    heads = ["ms", "images/s", "GFLOP/s", "of peak", "MB", "found", f"paper, {DEVICE}", "AP"]
    cells = [
        [
            row.total.text(1),
            f"{row.images_per_s:.1f}",
            _number(row.gflop_per_s),
            "-" if row.of_peak is None else f"{row.of_peak:.0%}",
            _number(row.memory_mb),
            f"{row.detections:.0f}",
            _number(row.paper_ms),
            _number(None if row.ap is None else 100 * row.ap, 1),
        ]
        for row in rows
    ]
    yield from _table(rows, heads, cells)


def _stages(rows: Sequence[Row]) -> Iterator[str]:
    cells = [
        [f"{row.stages[stage]:.1%}" if stage in row.stages else "-" for stage in STAGES]
        for row in rows
    ]
    yield from _table(rows, STAGES, cells)


def _table(rows: Sequence[Row], heads: Sequence[str], cells: list[list[str]]) -> Iterator[str]:
    """Aligned columns behind those that say whose row it is; without those that tell nothing."""
    whose = {
        "model": [row.model for row in rows],
        "scale": [str(row.scale) for row in rows],
        "canvas": [row.canvas for row in rows],
        "batch": [str(row.batch) for row in rows],
        "engine": [f"{row.engine} {row.precision}" for row in rows],
    }
    said = {"model", "batch"}  # by the lines above the table, if there is only one
    columns = [
        [head, *column]
        for head, column in whose.items()
        if head not in said or len(set(column)) > 1
    ]
    columns += [
        [head, *column]
        for head, column in zip(heads, zip(*cells, strict=True), strict=True)
        if set(column) != {"-"}
    ]
    widths = [max(map(len, column)) for column in columns]
    for line in zip(*columns, strict=True):
        yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
