"""What `retinaserve bench` measured, as rows and as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.bench.paper import DEVICE, TABLE_1E, paper_point
from loadtest.bench.prepared import Prepared
from loadtest.bench.spread import Spread
from loadtest.bench.subject import Subject
from loadtest.bench.worker import Contender, Took

INCLUDED = (
    "Medians (10th-90th percentile). ms is per image: preprocess, from a JPEG's bytes to a filled "
    "canvas on one core; the engine, from the uint8 canvas to detections, each engine in a process "
    "of its own that takes turns with the others; finish, the way back to image pixels. Stages are "
    "shares of that: trunk is normalisation, backbone and FPN; candidates is top-k and box "
    "decoding. Not included: HTTP, queueing, JSON. GFLOP/s counts the convolutions, a multiply-add "
    "as two, over the engine's time; the peak is numpy's float32 matrix product on all cores, "
    "which int8 may pass. MB: the most that the engine's process had resident so far. found: "
    "detections in an image."
)

STAGES = (
    "preprocess", "trunk", "heads", "network", "candidates", "nms", "post-process", "copies",
    "finish",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One engine at one setting. `graph` is the engine's part of `total`, ms per image."""

    model: str
    engine: str
    precision: str
    scale: int
    canvas: str
    batch: int
    rounds: int
    total: Spread
    graph: Spread
    decode: Spread
    resize: Spread
    finish: Spread
    images_per_s: float
    detections: float
    stages: dict[str, float] = field(default_factory=dict)
    """The share of each stage that could be told apart, 0 to 1."""
    gflop: float | None = None
    """Of one image."""
    gflop_per_s: float | None = None
    of_peak: float | None = None
    memory_mb: float | None = None
    ap: float | None = None
    """0 to 1, of the model's own data, by the bundle's manifest."""
    paper_of: str = ""
    """The backbone, where the paper has figures of it."""
    paper_ms: int | None = None
    paper_ap: float | None = None
    """In points, of COCO test-dev, by the paper: not of these weights."""


@dataclass(frozen=True)
class Facts:
    """What a contender told of itself at a setting, beside its times."""

    shares: dict[str, float]
    flops: float | None
    memory_mb: float | None


def row_of(
    subject: Subject,
    contender: Contender,
    prepared: Prepared,
    scale: int,
    batch: int,
    times: Sequence[Took],
    facts: Facts,
    peak: float | None,
) -> Row:
    """The row of a contender; `peak` in GFLOP/s."""
    before = prepared.decode.median + prepared.resize.median
    graph = Spread.of([took.graph for took in times])
    finish = Spread.of([took.finish for took in times])
    total = Spread.of([before + took.graph + took.finish for took in times])
    rate = None if facts.flops is None else facts.flops / 1e6 / graph.median
    point = paper_point(subject.backbone or "", scale)
    stages = {
        "preprocess": before,
        **{stage: share * graph.median for stage, share in facts.shares.items()},
        "finish": finish.median,
    }
    return Row(
        subject.name,
        contender.engine,
        contender.precision,
        scale,
        str(prepared.places[0].canvas),
        batch,
        len(times),
        total,
        graph,
        prepared.decode,
        prepared.resize,
        finish,
        images_per_s=round(1000.0 / total.median, 2),
        detections=sum(took.found for took in times) / len(times),
        stages={stage: round(ms / sum(stages.values()), 4) for stage, ms in stages.items()},
        gflop=None if facts.flops is None else round(facts.flops / 1e9, 3),
        gflop_per_s=None if rate is None else round(rate, 1),
        of_peak=None if rate is None or peak is None else round(rate / peak, 3),
        memory_mb=facts.memory_mb,
        ap=subject.ap(scale, contender.precision),
        paper_of=subject.backbone if subject.backbone in TABLE_1E else "",
        paper_ms=point.ms if point else None,
        paper_ap=point.ap if point else None,
    )


def ratios_of(
    scale: int, batch: int, model: str, names: Sequence[str], times: Sequence[Sequence[Took]]
) -> list[dict[str, Any]]:
    """How many times faster the first engine is than each other one, round by round."""
    return [
        {
            "model": model,
            "scale": scale,
            "batch": batch,
            "of": other,
            "to": names[0],
            "graph": Spread.of([b.graph / a.graph for a, b in zip(times[0], own, strict=True)]),
        }
        for other, own in zip(names[1:], times[1:], strict=True)
    ]


def report(head: Sequence[str], rows: Sequence[Row], ratios: Sequence[dict[str, Any]]) -> str:
    """The tables, the ratios and what they mean."""
    lines = [*head, "", *_times(rows), "", *_stages(rows), *([""] if ratios else [])]
    lines += [
        f"{ratio['model']}, scale {ratio['scale']}, batch {ratio['batch']}: {ratio['to']} is "
        f"{ratio['graph'].text()} times as fast as {ratio['of']}"
        for ratio in ratios
    ]
    return "\n".join([*lines, "", textwrap.fill(INCLUDED, 100)])


def _times(rows: Sequence[Row]) -> Iterator[str]:
    heads = ["ms", "images/s", "GFLOP/s", "of peak", "MB", "found"]
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
    heads += [f"paper, {DEVICE}", "AP"]
    yield from _table(rows, heads, cells)


def _stages(rows: Sequence[Row]) -> Iterator[str]:
    heads = [stage for stage in STAGES if any(stage in row.stages for row in rows)]
    cells = [
        [f"{row.stages[stage]:.1%}" if stage in row.stages else "-" for stage in heads]
        for row in rows
    ]
    yield from _table(rows, heads, cells)


def _table(rows: Sequence[Row], heads: list[str], cells: list[list[str]]) -> Iterator[str]:
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
