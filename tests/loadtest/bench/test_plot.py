from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from loadtest.bench.plot import draw
from loadtest.bench.row import Row
from tests.loadtest.bench.rows import ROW


def drawn(rows: list[Row], tmp_path: Path) -> str:
    draw(rows, tmp_path / "plot.svg")
    return (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_plot_has_a_line_for_each_engine(tmp_path: Path) -> None:
    text = drawn([ROW, replace(ROW, scale=500), replace(ROW, precision="fp32")], tmp_path)
    assert text.count("known onnxruntime int8, batch 1") == 1
    assert "known onnxruntime fp32, batch 1" in text
    # Nothing is known of accuracy, and nothing of the paper's.
    assert "AP" not in text
    assert "M40" not in text


def test_plot_marks_the_papers_points_as_the_papers(tmp_path: Path) -> None:
    text = drawn([replace(ROW, paper_of="resnet50", paper_ms=64, paper_ap=30.5)], tmp_path)
    assert "resnet50, the paper&#x27;s, M40, COCO test-dev" in text.replace("'", "&#x27;")
    assert "its own data" not in text


def test_plot_shows_the_bundles_own_ap(tmp_path: Path) -> None:
    text = drawn([replace(ROW, ap=0.6)], tmp_path)
    assert "known onnxruntime int8, batch 1, its own data" in text
    assert "AP, points" in text
