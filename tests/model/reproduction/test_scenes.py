"""Scenes with few cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data.records import Record
from model.geometry import AnchorSpec
from model.matching import Matching
from model.reproduction.scenes import imbalance_of, sparse_scenes


def test_scenes_are_drawn_once(tmp_path: Path) -> None:
    train, val = sparse_scenes(tmp_path, (3, 2))
    before = train.annotations.stat().st_mtime_ns
    again, _ = sparse_scenes(tmp_path, (3, 2))
    assert again == train
    assert again.annotations.stat().st_mtime_ns == before
    assert [len(part.open(None).records) for part in (train, val)] == [3, 2]


def test_scenes_have_about_one_cell(tmp_path: Path) -> None:
    train, _ = sparse_scenes(tmp_path, (40, 1))
    boxes = [len(record.boxes) for record in train.open(None).records]
    assert 0.5 < np.mean(boxes) < 2.0


def test_imbalance_counts_anchors_with_a_box_and_without() -> None:
    # A canvas of 64x64 has 64 + 16 + 4 + 1 + 1 locations. With one square anchor of 8 px on each
    # of P3, the box covers one exactly; the next ones, 8 px away, don't touch it.
    spec = AnchorSpec(sizes=(8.0, 512.0, 512.0, 512.0, 512.0), scales=(1.0,), ratios=(1.0,))
    box = np.array([[8, 8, 16, 16]], np.float32)
    record = Record(1, "x", (64, 64), box, np.array([0]), np.zeros((0, 4), np.float32))
    empty = Record(2, "y", (64, 64), box[:0], np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    found = imbalance_of([record, empty], 64, spec, Matching())
    assert found == (0.5, 86.0, 0.5, 85.5)
    assert found.background_per_positive == pytest.approx(171.0)
