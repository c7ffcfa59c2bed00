import numpy as np
import pytest

from model.letterbox import Canvas, Letterbox
from service.detections import Options, finish, result_of
from tests.service.fakes import THREE, detections, make_manifest

MANIFEST = make_manifest()
DEFAULT = Options.default(MANIFEST)
TWICE = Letterbox(image_size=(200, 100), resized=(100, 50), canvas=Canvas(128, 64))
"""An image twice as large as its place in the canvas."""


def options(**changes) -> Options:
    return Options(**({**vars(DEFAULT)} | changes))


def test_finish_maps_boxes_to_image_pixels_and_clips_them():
    found = finish(detections(((10, 20, 60, 101), 0.9, 1)), TWICE, DEFAULT)
    assert found.boxes.tolist() == [[20.0, 40.0, 100.0, 200.0]]


def test_finish_drops_a_score_equal_to_the_threshold_in_float32():
    rows = [((0, 0, 1, 1), score, 0) for score in (0.7, 0.30000001192, 0.3, 0.29)]
    found = finish(detections(*rows), TWICE, options(score_threshold=0.3))
    assert found.scores.tolist() == pytest.approx([0.7])


def test_finish_filters_classes_before_it_counts():
    found = finish(THREE, TWICE, options(classes=frozenset({0}), max_detections=1))
    assert found.classes.tolist() == [0]


def test_finish_keeps_the_best():
    assert finish(THREE, TWICE, options(max_detections=2)).scores.tolist() == [
        pytest.approx(0.9),
        pytest.approx(0.5),
    ]


def test_a_higher_score_threshold_runs_with_the_default_and_shares_its_batches():
    assert options(score_threshold=0.6).engine_thresholds(MANIFEST) == (0.05, 0.5)
    assert options(score_threshold=0.01).engine_thresholds(MANIFEST) == (0.01, 0.5)
    assert options(iou_threshold=0.7).engine_thresholds(MANIFEST) == (0.05, 0.7)


def naive_nms(boxes, scores, threshold, iou_threshold):
    kept = []
    for i in np.argsort(-scores):
        if scores[i] <= threshold:
            continue
        ious = []
        for j in kept:
            low, high = (
                np.maximum(boxes[i, :2], boxes[j, :2]),
                np.minimum(boxes[i, 2:], boxes[j, 2:]),
            )
            inter = np.prod(np.clip(high - low, 0, None))
            area = [np.prod(boxes[k, 2:] - boxes[k, :2]) for k in (i, j)]
            ious.append(inter / (sum(area) - inter))
        if all(iou <= iou_threshold for iou in ious):
            kept.append(i)
    return kept


def test_filtering_after_nms_equals_a_higher_threshold_before_it():
    random = np.random.default_rng(7)
    for _ in range(20):
        corner = random.uniform(0, 40, (30, 2))
        boxes = np.concatenate([corner, corner + random.uniform(5, 30, (30, 2))], axis=1)
        scores = random.uniform(0.05, 1, 30)
        after = [i for i in naive_nms(boxes, scores, 0.05, 0.5) if scores[i] > 0.4]
        assert after == naive_nms(boxes, scores, 0.4, 0.5)


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("xyxy", [20.0, 40.0, 60.0, 100.0]),
        ("xywh", [20.0, 40.0, 40.0, 60.0]),
        ("normalized", [0.2, 0.2, 0.6, 0.5]),
    ],
)
def test_result_has_the_fields_of_the_interface(box_format, box):
    found = detections(((20.0, 40.0, 60.0, 100.0), 0.25, 1))
    timings = {"decode": 3.1, "queue": 0.2, "inference": 41.0, "postprocess": 0.3}
    wanted = options(box_format=box_format)
    assert result_of(found, (200, 100), wanted, MANIFEST, timings) == {
        "model": {"name": "cells", "version": "1"},
        "image": {"width": 100, "height": 200},
        "scale": 128,
        "detections": [{"box": box, "score": 0.25, "label": "RBC", "class_index": 1}],
        "timings_ms": timings,
    }


def test_result_leaves_the_detections_as_they_are():
    found = detections(((20.0, 40.0, 60.0, 100.0), 0.25, 1))
    result_of(found, (200, 100), options(box_format="normalized"), MANIFEST, {})
    assert found.boxes.tolist() == [[20.0, 40.0, 60.0, 100.0]]
