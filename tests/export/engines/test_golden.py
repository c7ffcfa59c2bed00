"""The golden record is found again by the same graph and by no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.engines.golden import GoldenError, golden_figures, golden_of
from export.engines.session import Detections
from export.figures import first_past
from export.manifest import Golden, Manifest, Thresholds
from model.geometry import AnchorSpec

MANIFEST = Manifest.model_validate(
    {
        "name": "m",
        "version": "1",
        "classes": ["a", "b"],
        "anchors": AnchorSpec(),
        "canvases": {64: ["64x96", "64x64"], 96: ["96x96"]},
        "default_scale": 64,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "graphs": [{"file": "m.onnx", "precision": "fp32", "sha256": "0" * 64, "opset": 18}],
    }
)


class Fake:
    """Finds `count` boxes apart from each other, with scores from .9 down; obeys the threshold."""

    def __init__(self, count: int, top: float = 0.9, move: float = 0.0) -> None:
        self.count, self.top, self.move = count, top, move
        self.canvases: list[tuple[int, ...]] = []

    def run(self, images: Any, image_sizes: Any, score_threshold: float, _: float) -> Any:
        self.canvases.append(images.shape)
        scores = np.linspace(self.top, self.top / 10, self.count, dtype=np.float32)
        corner = np.arange(self.count, dtype=np.float32)[:, None] * 20
        boxes = np.concatenate([corner, corner, corner + 10 + self.move, corner + 10], axis=1)
        every = Detections(boxes.astype(np.float32), scores, np.arange(self.count) % 2)
        return [every.where(scores > score_threshold)]


def past(detector: Fake, record: list[Golden]) -> str | None:
    figure = first_past(golden_figures(detector, record, "fp32", Thresholds()))
    return None if figure is None else str(figure)


def test_record_is_of_the_smallest_canvas_of_the_default_scale() -> None:
    detector = Fake(3)
    record = golden_of(detector, MANIFEST)
    assert detector.canvases == [(1, 64, 64, 3)] * 2
    assert [(golden.picture, golden.canvas) for golden in record] == [(0, "64x64"), (1, "64x64")]
    assert record[0].sha256 != record[1].sha256
    assert record[0].scores == pytest.approx([0.9, 0.495, 0.09])
    assert record[0].boxes[1] == (20.0, 20.0, 30.0, 30.0)
    assert record[0].classes == [0, 1, 0]


def test_same_detector_is_within_its_record() -> None:
    assert past(Fake(3), golden_of(Fake(3), MANIFEST)) is None


def test_other_box_is_past_it() -> None:
    record = golden_of(Fake(3), MANIFEST)
    assert past(Fake(3, move=0.06), record) == (
        "worst_box_px of the golden record is 0.0600014, the bound is 0.05"
    )


def test_missing_detection_is_past_it() -> None:
    said = past(Fake(5), golden_of(Fake(3), MANIFEST))
    assert said is not None
    assert "of the golden record" in said


def test_long_list_is_kept_short_by_a_threshold() -> None:
    record = golden_of(Fake(80), MANIFEST)
    assert len(record[0].scores) == 50
    assert min(record[0].scores) > record[0].score_threshold > 0.05
    assert past(Fake(80), record) is None


def test_model_that_finds_nothing_is_recorded_at_what_it_believes_most() -> None:
    record = golden_of(Fake(4, top=0.04), MANIFEST)
    assert record[0].score_threshold == 0.0
    assert len(record[0].scores) == 4
    assert past(Fake(4, top=0.04), record) is None
    assert past(Fake(4, top=0.03), record) is not None


def test_bundle_without_a_record_is_told() -> None:
    with pytest.raises(GoldenError, match="has no golden record: it is of an older export"):
        golden_figures(Fake(1), [], "fp32", Thresholds())


def test_pictures_drawn_otherwise_are_told() -> None:
    record = [g.model_copy(update={"sha256": "0" * 64}) for g in golden_of(Fake(1), MANIFEST)]
    with pytest.raises(GoldenError, match="pictures are drawn otherwise than where the bundle"):
        golden_figures(Fake(1), record, "fp32", Thresholds())


def test_record_survives_the_manifest() -> None:
    record = golden_of(Fake(3), MANIFEST)
    graph = MANIFEST.graphs[0].model_copy(update={"golden": record})
    written = MANIFEST.model_copy(update={"graphs": [graph]}).model_dump_json()
    assert Manifest.model_validate_json(written).graphs[0].golden == record
