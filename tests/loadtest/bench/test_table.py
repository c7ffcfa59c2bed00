"""Tables, by hand."""

from __future__ import annotations

from dataclasses import replace

from loadtest.bench.row import Ratio
from loadtest.bench.spread import Spread
from loadtest.bench.table import report
from tests.loadtest.bench.rows import ROW

FULL = replace(
    ROW,
    stages={"preprocess": 0.08, "nms": 0.09, "trunk": 0.81, "finish": 0.02},
    gflop=9.0,
    gflop_per_s=100.0,
    of_peak=0.2,
    memory_mb=123.4,
    ap=0.5,
    paper_of="resnet50",
    paper_ms=153,
    paper_ap=35.7,
)


def test_report_leaves_out_what_nobody_knows() -> None:
    lines = report(["head"], [FULL], []).splitlines()
    assert lines[0] == "head"
    assert lines[2].split() == [
        "scale", "canvas", "engine", "ms", "images/s", "GFLOP/s", "of", "peak", "MB", "found",
        "paper,", "M40", "AP",
    ]  # fmt: skip
    assert lines[3].split() == [
        "800", "800x1088", "onnxruntime", "int8", "100.0", "(99.0-102.0)", "10.0", "100", "20%",
        "123", "5", "153", "50.0",
    ]  # fmt: skip
    measured = replace(ROW, memory_mb=123.4)
    heads = report([], [measured], []).splitlines()[1].split()
    assert heads == ["scale", "canvas", "engine", "ms", "images/s", "MB", "found"]


def test_stages_come_in_order() -> None:
    other = replace(FULL, engine="torch", stages={"preprocess": 0.5, "candidates+nms": 0.25})
    table = report([], [FULL, other], []).split("\n\n")[1].splitlines()
    assert [line.split()[-5:] for line in table] == [
        ["preprocess", "trunk", "nms", "candidates+nms", "finish"],
        ["8.0%", "81.0%", "9.0%", "-", "2.0%"],
        ["50.0%", "-", "-", "25.0%", "-"],
    ]


def test_batch_is_a_column_where_there_are_several() -> None:
    assert "batch" not in report([], [FULL], []).splitlines()[1]
    assert "batch" in report([], [FULL, replace(FULL, batch=8)], []).splitlines()[1]


def test_ratios_are_sentences() -> None:
    ratio = Ratio("known", 800, 1, "int8", "fp32", Spread(2.5, 2.1, 2.9))
    assert (
        "known, scale 800, batch 1: int8 is 2.50 (2.10-2.90) times as fast as fp32"
        in report([], [FULL], [ratio]).splitlines()
    )
