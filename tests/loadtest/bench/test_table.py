"""Rows and tables, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.manifest import Graph, manifest_of
from loadtest.bench.prepared import Prepared
from loadtest.bench.spread import Spread
from loadtest.bench.subject import Subject
from loadtest.bench.table import Facts, Row, ratios_of, report, row_of
from loadtest.bench.worker import Contender, Took
from model.geometry import AnchorSpec
from model.letterbox import Canvas, Letterbox

CANVAS = Canvas(800, 1088)
PREPARED = Prepared(
    np.zeros((1, *CANVAS, 3), np.uint8),
    [Letterbox((480, 640), (800, 1067), CANVAS)],
    decode=Spread(3.0, 2.0, 4.0),
    resize=Spread(5.0, 4.0, 6.0),
)
TIMES = [Took(graph=90.0, finish=2.0, found=4.0), Took(graph=90.0, finish=2.0, found=6.0)]


def subject(backbone: str = "resnet50") -> Subject:
    manifest = manifest_of(
        {
            "name": "known",
            "version": "3",
            "classes": ["cell"],
            "anchors": AnchorSpec(),
            "canvases": {800: [str(CANVAS)]},
            "default_scale": 800,
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
            "graphs": [Graph(file="a.onnx", precision="int8", sha256="0" * 64, opset=18)],
            "metrics": {"export": {"int8": {"800": {"AP": 0.5}}}},
        }
    )
    return Subject("known", Path("known"), manifest, backbone=backbone)


def row(backbone: str = "resnet50", peak: float | None = 500.0, batch: int = 2) -> Row:
    contender = Contender("onnxruntime", "int8", Path("known"))
    facts = Facts({"trunk": 0.9, "nms": 0.1}, flops=9e9, memory_mb=123.4)
    return row_of(subject(backbone), contender, PREPARED, 800, batch, TIMES, facts, peak)


def test_row_shares_the_time_of_an_image_among_its_stages() -> None:
    made = row()
    assert made.total == Spread(100.0, 100.0, 100.0)
    assert made.stages == {"preprocess": 0.08, "trunk": 0.81, "nms": 0.09, "finish": 0.02}
    assert (made.images_per_s, made.detections, made.canvas) == (10.0, 5.0, "800x1088")
    # 9 GFLOP in 90 ms of the engine's own time.
    assert (made.gflop, made.gflop_per_s, made.of_peak) == (9.0, 100.0, 0.2)


def test_row_knows_the_papers_figures_and_the_bundles_ap() -> None:
    made = row()
    assert (made.paper_of, made.paper_ms, made.paper_ap, made.ap) == ("resnet50", 153, 35.7, 0.5)
    other = row(backbone="mobilenet_v2")
    assert (other.paper_of, other.paper_ms, other.paper_ap) == ("", None, None)


def test_row_without_a_peak_has_no_share_of_it() -> None:
    assert row(peak=None).of_peak is None


def test_report_leaves_out_what_nobody_knows() -> None:
    with_paper = report(["head"], [row()], [])
    lines = with_paper.splitlines()
    assert lines[0] == "head"
    assert lines[2].split() == [
        "scale", "canvas", "engine", "ms", "images/s", "GFLOP/s", "of", "peak", "MB", "found",
        "paper,", "M40", "AP",
    ]  # fmt: skip
    assert lines[3].split() == [
        "800", "800x1088", "onnxruntime", "int8", "100.0", "(100.0-100.0)", "10.0", "100", "20%",
        "123", "5", "153", "50.0",
    ]  # fmt: skip
    assert "M40" not in report([], [row(backbone="resnet18")], []).split("Medians")[0]
    # Two batches have to be told apart, one is said above the table.
    assert "batch" in report([], [row(), row(batch=8)], []).splitlines()[1]


def test_ratios_are_of_each_round() -> None:
    fast, slow = [Took(1.0, 0.0, 0.0), Took(2.0, 0.0, 0.0)], [Took(3.0, 0, 0), Took(4.0, 0, 0)]
    (ratio,) = ratios_of(800, 1, "known", ["int8", "fp32"], [fast, slow])
    assert (ratio["to"], ratio["of"]) == ("int8", "fp32")
    assert ratio["graph"].median == pytest.approx(2.5)
    shown = report([], [row()], [ratio])
    assert "known, scale 800, batch 1: int8 is 2.50 (2.10-2.90) times as fast as fp32" in shown
