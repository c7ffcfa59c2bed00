"""The model that comes with the package finds cells, drawn and real."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.manifest import read_bundle
from model.synthetic.scene import draw_scene
from service.cli.finder import LocalFinder
from service.options import DetectQuery
from service.settings import packaged_bundle

MAX_BUNDLE_BYTES = 25_000_000


@pytest.fixture(scope="module")
def finder() -> LocalFinder:
    return LocalFinder(packaged_bundle(), DetectQuery(score_threshold=0.4))


def rows_of(answer: dict[str, Any], label: str) -> NDArray[np.float64]:
    return np.array([r["box"] for r in answer["detections"] if r["label"] == label]).reshape(-1, 4)


def best_iou(box: NDArray[Any], others: NDArray[Any]) -> float:
    """Intersection over union with the best of some boxes, written out again on purpose."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inter = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return float((inter / (areas - inter)).max(initial=0.0))


def test_bundle_is_small_and_its_graphs_are_the_model() -> None:
    bundle = read_bundle(packaged_bundle())
    size = sum(path.stat().st_size for path in packaged_bundle().iterdir())
    assert size <= MAX_BUNDLE_BYTES
    assert bundle.manifest.classes == ["Platelets", "RBC", "WBC"]
    assert [graph.precision for graph in bundle.manifest.graphs] == ["int8", "fp32"]
    int8, fp32 = (graph.parity for graph in bundle.manifest.graphs)
    assert min(int8["detections"], fp32["detections"]) > 4000
    assert (fp32["matched_share"], fp32["unmatched_share"]) == (1.0, 0.0)
    assert fp32["worst_box_px"] < 1e-3
    assert int8["unmatched_share"] < 0.01
    assert int8["mean_iou"] > 0.98


def test_cells_of_drawn_scenes_are_found(finder: LocalFinder) -> None:
    found: list[bool] = []
    told = 0
    for seed in range(70_001, 70_011):
        scene = draw_scene(seed)
        buffer = io.BytesIO()
        Image.fromarray(scene.image).save(buffer, "JPEG", quality=92)
        answer = finder(buffer.getvalue())
        labels = ("Platelets", "RBC", "WBC")
        found += [
            best_iou(box, rows_of(answer, labels[index])) > 0.5
            for box, index in zip(scene.boxes, scene.class_indices, strict=True)
        ]
        told += len(answer["detections"])
    assert np.mean(found) >= 0.85
    assert told <= 1.25 * len(found)


def test_white_cell_of_a_real_picture_is_found(finder: LocalFinder, cells: Path) -> None:
    answer = finder((cells / "images" / "BloodImage_00001.jpg").read_bytes())
    assert best_iou(np.array([68.0, 315.0, 286.0, 480.0]), rows_of(answer, "WBC")) > 0.7
    assert len(rows_of(answer, "RBC")) >= 8
