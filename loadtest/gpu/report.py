"""The figures of a device as a page of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from loadtest.gpu.rows import Row

MLPERF = {"H100 SXM": 1817, "H200": 1877, "A100": 741, "L40S": 828, "L4": 229}
MLPERF_IS = (
    "MLPerf Inference's published figures of ResNeXt50-32x4d with 264 classes at 800x800, tuned "
    "TensorRT in INT8, offline, JPEG decoding and resizing not included, images/s"
)

Cell = Callable[[Row], object]


def page(figures: dict[str, Any]) -> str:
    """The tables with hardware, versions, date and the command."""
    facts = figures["hardware"]
    lines = [
        f"# {facts.get('gpu') or facts['cpu']}, {figures['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None),
        "",
        f"    {figures['command']}",
        "",
        "Untrained weights that find about as much as trained ones do. Medians (10th-90th "
        "percentile); ms is of a batch, from uint8 images in the host's memory to detections "
        "there, NMS and decoding included, JPEG decoding not.",
        f"Peak: {figures['peak_tflop_per_s']:.3g} TFLOP/s of a matrix product in "
        f"{figures['precision']}.",
    ]
    for title, rows, columns in _tables(figures):
        lines += ["", f"## {title}", ""]
        lines += list(_table(rows, columns)) if rows else ["Not measured."]
    theirs = ", ".join(f"{name} {rate:,}" for name, rate in MLPERF.items())
    lines += ["", "## Yardstick", "", f"{MLPERF_IS}: {theirs}."]
    if figures["not_measured"]:
        lines += ["", "## Not measured", ""]
        lines += [f"* {line}" for line in figures["not_measured"]]
    return "\n".join(lines) + "\n"


def _tables(
    figures: dict[str, Any],
) -> Iterator[tuple[str, Sequence[Row], dict[str, Cell]]]:
    setting: dict[str, Cell] = {
        "model": lambda row: row["model"],
        "canvas": lambda row: row["canvas"],
        "batch": lambda row: row["batch"],
        "precision": lambda row: row["precision"],
    }
    pace: dict[str, Cell] = {
        "ms": lambda row: _spread(row["ms"]),
        "images/s": lambda row: row["images_per_s"],
    }
    ours = {**pace, "of peak": lambda row: f"{row['of_peak']:.1%}"}
    yield (
        "torch session against torchvision (eager, autocast)",
        figures["against_torchvision"],
        {
            **setting,
            **ours,
            "torchvision, ms": lambda row: _spread(row.get("torchvision_ms")),
            "times as fast": lambda row: _spread(row.get("times_as_fast")),
        },
    )
    yield (
        "ResNeXt50-32x4d, 264 classes, 800x800, offline",
        figures["mlperf"],
        {**setting, **ours},
    )
    yield (
        "Stages, ms of a batch by the device's own timers",
        figures["stages"],
        {
            **setting,
            **{
                name: partial(_stage, name)
                for name in ("trunk", "heads", "candidates", "nms", "copies")
            },
            "post-process": lambda row: _share(row["post_process_share"]),
        },
    )
    yield (
        "Other engines",
        figures["engines"],
        {"engine": lambda row: row["engine"], **setting, **pace},
    )
    yield (
        "Detections against the eager model and the oracle on the CPU",
        figures["parity"],
        {
            "model": setting["model"],
            "precision": setting["precision"],
            "detections": lambda row: row["detections"],
            "unmatched": lambda row: f"{row['unmatched_share']:.2%}",
            "worst box, px": lambda row: f"{row['worst_box_px']:.3g}",
            "worst score": lambda row: f"{row['worst_score']:.2g}",
            "past its bound": lambda row: row["past_its_bound"] or "nothing",
        },
    )


def _table(rows: Sequence[Row], columns: dict[str, Cell]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "| " + " | ".join("---" for _ in columns) + " |"
    for row in rows:
        yield "| " + " | ".join(str(cell(row)) for cell in columns.values()) + " |"


def _spread(value: dict[str, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value['median']:.2f} ({value['p10']:.2f}-{value['p90']:.2f})"


def _stage(name: str, row: Row) -> str:
    return f"{row['ms'][name]:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
