"""Rows, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.manifest import Graph, manifest_of
from loadtest.bench.prepared import Prepared
from loadtest.bench.row import Facts, Row, Setting, against_peak, ratios_of, row_of
from loadtest.bench.spread import Spread
from loadtest.bench.subject import Subject
from loadtest.bench.worker import Contender, Took
from model.geometry import AnchorSpec
from model.letterbox import Canvas, Letterbox

CANVAS = Canvas(800, 1088)
PREPARED = Prepared(
    np.zeros((1, *CANVAS, 3), np.uint8),
    [Letterbox((480, 640), (800, 1067), CANVAS)],
    preprocess=Spread(8.0, 6.0, 10.0),
)
TIMES = [Took(session=90.0, finish=2.0, found=4.0), Took(session=90.0, finish=2.0, found=6.0)]


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


def row(backbone: str = "resnet50", batch: int = 2) -> Row:
    contender = Contender("onnxruntime", "int8", Path("known"))
    facts = Facts({"trunk": 0.9, "nms": 0.1}, flops=9 * 10**9, memory_mb=123.4)
    return row_of(subject(backbone), contender, PREPARED, Setting(800, batch), TIMES, facts)


def test_row_shares_the_time_of_an_image_among_its_stages() -> None:
    made = row()
    assert made.total == Spread(100.0, 100.0, 100.0)
    assert made.stages == {"preprocess": 0.08, "trunk": 0.81, "nms": 0.09, "finish": 0.02}
    assert (made.images_per_s, made.detections, made.canvas) == (10.0, 5.0, "800x1088")
    # 9 GFLOP in 90 ms of the engine's own time.
    assert (made.gflop, made.gflop_per_s) == (9.0, 100.0)


def test_row_knows_the_papers_figures_and_the_bundles_ap() -> None:
    made = row()
    assert (made.paper_of, made.paper_ms, made.paper_ap, made.ap) == ("resnet50", 153, 35.7, 0.5)
    other = row(backbone="mobilenet_v2")
    assert (other.paper_of, other.paper_ms, other.paper_ap) == ("", None, None)


def test_share_of_the_peak_is_of_the_same_precision() -> None:
    assert against_peak(row(), {"fp32": 250.0, "int8": 500.0}).of_peak == 0.2
    assert against_peak(row(), {"fp32": 250.0}).of_peak is None


def test_ratios_are_of_each_round() -> None:
    fast, slow = [Took(1.0, 0.0, 0.0), Took(2.0, 0.0, 0.0)], [Took(3.0, 0, 0), Took(4.0, 0, 0)]
    (ratio,) = ratios_of("known", Setting(800, 1), ["int8", "fp32"], [fast, slow])
    assert (ratio.fast, ratio.slow) == ("int8", "fp32")
    assert ratio.times.median == pytest.approx(2.5)
