"""COCO metrics on cases whose AP is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.evaluation.coco_metrics import (
    ImageDetections,
    coco_evaluation,
    coco_metrics,
    coco_results,
)

Found = list[tuple[list[float], float, int]]

CLASSES = ("car", "brush")


def truth(*boxes: tuple[int, int, list[float]], images: int = 2, **extra: Any) -> dict[str, Any]:
    """Ground truth with sparse category ids: (image id, category id, xywh)."""
    return {
        "images": [{"id": i + 1, "width": 200, "height": 200} for i in range(images)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b, **extra}
            for n, (i, c, b) in enumerate(boxes)
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "brush"}],
    }


def found(*entries: tuple[list[float], float, int]) -> ImageDetections:
    """(xyxy, score, class index) of one image."""
    return ImageDetections(
        np.array([e[0] for e in entries], np.float32).reshape(-1, 4),
        np.array([e[1] for e in entries], np.float32),
        np.array([e[2] for e in entries], np.int64),
    )


COCO = truth((1, 3, [10, 10, 50, 40]), (1, 90, [100, 0, 20, 20]), (2, 3, [0, 0, 100, 100]))
PERFECT = {
    1: found(([10, 10, 60, 50], 0.9, 0), ([100, 0, 120, 20], 0.8, 1)),
    2: found(([0, 0, 100, 100], 0.7, 0)),
}


def test_the_twelve_metrics_stand_in_cocos_order() -> None:
    found_all = coco_metrics(COCO, CLASSES, PERFECT)
    assert " ".join(found_all) == ("AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl classes")


def test_perfect_detections_have_ap_one() -> None:
    metrics = coco_metrics(COCO, CLASSES, PERFECT)
    assert metrics.pop("classes") == {
        "car": {"AP": 1.0, "AP50": 1.0, "AR100": 1.0, "boxes": 2},
        "brush": {"AP": 1.0, "AP50": 1.0, "AR100": 1.0, "boxes": 1},
    }
    assert set(metrics.values()) == {1.0}


def test_no_detections_have_ap_zero_and_every_figure() -> None:
    metrics = coco_metrics(COCO, CLASSES, {1: found(), 2: found()})
    assert metrics.pop("classes") == {
        "car": {"AP": 0.0, "AP50": 0.0, "AR100": 0.0, "boxes": 2},
        "brush": {"AP": 0.0, "AP50": 0.0, "AR100": 0.0, "boxes": 1},
    }
    assert set(metrics.values()) == {0.0}


def test_recall_is_bounded_by_the_detections_that_count() -> None:
    """Twenty objects of 20 px; the detections with the best scores are right."""
    boxes: list[tuple[int, int, list[float]]] = [(1, 3, [9.0 * i, 0, 20, 20]) for i in range(20)]
    entries: Found = [([x, y, x + w, y + h], 0.9, 0) for _, _, (x, y, w, h) in boxes]
    metrics = coco_metrics(truth(*boxes, images=1), CLASSES, {1: found(*entries)})
    named = {name: metrics[name] for name in ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")}
    assert named == {"AR1": 0.05, "AR10": 0.5, "AR100": 1.0, "ARs": 1.0, "ARm": None, "ARl": None}
    assert metrics["classes"]["car"]["AR100"] == 1.0


def test_sizes_have_figures_of_their_own() -> None:
    coco = truth((1, 3, [0, 0, 20, 20]), (1, 3, [50, 0, 50, 50]), (1, 3, [0, 60, 120, 120]))
    both = {1: found(([0, 0, 20, 20], 0.9, 0), ([0, 60, 120, 180], 0.8, 0))}
    metrics = coco_metrics(coco, CLASSES, both)
    assert [metrics[name] for name in ("APs", "APm", "APl")] == [1.0, 0.0, 1.0]
    assert [metrics[name] for name in ("ARs", "ARm", "ARl")] == [1.0, 0.0, 1.0]


def test_boxes_are_those_of_the_images_counted_without_crowds() -> None:
    coco = truth((1, 3, [0, 0, 9, 9]), (2, 3, [0, 0, 9, 9]), (2, 3, [20, 0, 9, 9]))
    coco["annotations"][2]["iscrowd"] = 1
    assert coco_metrics(coco, CLASSES, {2: found()})["classes"]["car"]["boxes"] == 1


def test_curves_are_those_behind_the_figures() -> None:
    coco = truth((1, 3, [0, 0, 100, 100]), (2, 3, [0, 0, 100, 100]))
    # IoU .62, and only one of two objects: precision 1 up to recall .5 at .50, .55, .60.
    curves = coco_evaluation(coco, CLASSES, {1: found(([0, 0, 100, 62], 0.9, 0)), 2: found()})
    car = curves.precision["car"]
    assert car.shape == (10, 101)
    assert car[:3, :51].tolist() == [[1.0] * 51] * 3
    assert car[:3, 51:].max() == car[3:].max() == 0.0
    assert np.isnan(curves.precision["brush"]).all()


def test_without_ground_truth_ap_is_unknown() -> None:
    metrics = coco_metrics(truth(), CLASSES, {1: found(([0, 0, 9, 9], 0.5, 0)), 2: found()})
    assert metrics["AP"] is None
    assert metrics["classes"]["car"]["AP"] is None


def test_results_have_the_files_own_ids_and_xywh() -> None:
    entries = coco_results(COCO, CLASSES, {1: found(([100, 0, 120, 25], 0.5, 1))})
    assert entries == [
        {"image_id": 1, "category_id": 90, "bbox": [100.0, 0.0, 20.0, 25.0], "score": 0.5}
    ]


def test_class_that_the_file_lacks_is_left_out() -> None:
    assert coco_results(COCO, ("car", "cow"), {1: found(([0, 0, 9, 9], 0.5, 1))}) == []


def test_swapped_classes_find_nothing() -> None:
    assert coco_metrics(COCO, ("brush", "car"), PERFECT)["AP"] == 0.0


def test_false_positive_between_two_hits_costs_what_the_definition_says() -> None:
    coco = truth((1, 3, [0, 0, 50, 50]), (1, 3, [100, 100, 50, 50]), images=1)
    detections = {
        1: found(
            ([0, 0, 50, 50], 0.9, 0), ([0, 120, 50, 170], 0.8, 0), ([100, 100, 150, 150], 0.7, 0)
        )
    }
    # Precision 1 up to recall .5 (51 of 101 points), then 2/3 (50 points).
    expected = round((51 + 50 * 2 / 3) / 101, 4)
    metrics = coco_metrics(coco, CLASSES, detections)
    assert metrics["AP"] == expected == 0.835
    assert metrics["classes"]["brush"]["AP"] is None


def test_loose_box_counts_up_to_its_iou() -> None:
    coco = truth((1, 3, [0, 0, 100, 100]), images=1)
    # IoU .62: found at .50, .55 and .60 of the ten thresholds.
    metrics = coco_metrics(coco, CLASSES, {1: found(([0, 0, 100, 62], 0.9, 0))})
    assert (metrics["AP"], metrics["AP50"], metrics["AP75"]) == (0.3, 1.0, 0.0)


def test_detections_in_a_crowd_are_not_counted() -> None:
    coco = truth((1, 3, [0, 0, 50, 50]), images=1)
    crowd = {"id": 9, "image_id": 1, "category_id": 3, "bbox": [60, 60, 100, 100], "iscrowd": 1}
    coco["annotations"].append(crowd)
    detections = {1: found(([70, 70, 90, 90], 0.95, 0), ([0, 0, 50, 50], 0.9, 0))}
    assert coco_metrics(coco, CLASSES, detections)["AP"] == 1.0


def test_only_images_with_an_entry_are_counted() -> None:
    assert coco_metrics(COCO, CLASSES, {2: PERFECT[2]})["AP"] == 1.0


def test_best_hundred_of_an_image_are_counted() -> None:
    coco = truth((1, 3, [0, 0, 50, 50]), images=1)
    clutter: Found = [([100, 100, 120, 120], 0.9, 0)] * 100
    hit: tuple[list[float], float, int] = ([0, 0, 50, 50], 0.5, 0)
    assert coco_metrics(coco, CLASSES, {1: found(*clutter, hit)})["AP"] == 0.0
    assert coco_metrics(coco, CLASSES, {1: found(*clutter[1:], hit)})["AP"] == pytest.approx(0.01)


def test_ground_truth_is_left_as_it_was() -> None:
    coco = truth((1, 3, [0, 0, 50, 50]), images=1)
    coco_metrics(coco, CLASSES, {1: found(([0, 0, 50, 50], 0.9, 0))})
    assert coco == truth((1, 3, [0, 0, 50, 50]), images=1)
