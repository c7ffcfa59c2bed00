"""What two engines may differ in, and what is a fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from export.engines.overlap import iou_of
from export.engines.parity import BOUNDS, Differences, Evidence, compared
from export.engines.session import Detections
from export.manifest import Thresholds
from model.postprocess import class_wise_nms

THRESHOLDS = Thresholds()
FP32 = BOUNDS["fp32"]


def found(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    """Detections of (box, score, class)."""
    boxes, scores, classes = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )


SQUARE = (0.0, 0.0, 10.0, 10.0)
HALF = (0.0, 0.0, 10.0, 5.0)
"""Of IoU .5 with the square: suppressed or not by the last bit."""
FAR = (50.0, 50.0, 70.0, 70.0)


def counts(expected: Detections, other: Detections, **given: object) -> tuple[int, int, int]:
    """(pairs, unmatched, tied), the same from either side."""
    bounds = given.pop("bounds", FP32)
    thresholds = given.pop("thresholds", THRESHOLDS)
    evidence = given.pop("evidence", None)
    there = compared(expected, other, bounds, thresholds, evidence)
    turned = evidence and Evidence(evidence.found, evidence.expected, evidence.cuts)
    back = compared(other, expected, bounds, thresholds, turned)
    assert (len(there.pairs), *there[1:]) == (len(back.pairs), *back[1:])
    return len(there.pairs), there.unmatched, there.tied


def test_iou_is_that_of_hand_computed_boxes() -> None:
    boxes = np.array([SQUARE, HALF, (5, 0, 15, 10), FAR, (1, 1, 1, 1)], np.float32)
    np.testing.assert_allclose(iou_of(boxes[0], boxes), [1, 0.5, 1 / 3, 0, 0])
    assert iou_of(boxes[4], boxes[4:]).tolist() == [0.0]


def test_equal_lists_are_pairs_whatever_their_order() -> None:
    a = found((SQUARE, 0.9, 0), (FAR, 0.8, 1))
    b = found((FAR, 0.8, 1), (SQUARE, 0.9, 0))
    assert compared(a, b, FP32, THRESHOLDS).pairs.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "other",
    [(FAR, 0.9, 0), (SQUARE, 0.9, 1), (SQUARE, 0.8, 0), ((0.0, 0.0, 10.0, 9.8), 0.9, 0)],
    ids=["elsewhere", "class", "score", "IoU .98"],
)
def test_another_detection_is_no_counterpart(other: tuple[tuple[float, ...], float, int]) -> None:
    assert counts(found((SQUARE, 0.9, 0)), found(other)) == (0, 2, 0)


SLIVER = (239.3115, 0.0, 239.314, 179.0)
"""As an untrained model has them: a last bit of its place is half of its width."""


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.00128, (1, 0, 0)), (0.06, (0, 2, 0)), (np.nan, (0, 2, 0))]
)
def test_sliver_is_judged_by_its_sides(shift: float, expected: tuple[int, int, int]) -> None:
    moved = (SLIVER[0] + shift, 0.0, SLIVER[2] + shift, 179.0)
    assert counts(found((SLIVER, 0.9, 0)), found((moved, 0.9, 0))) == expected


def test_detection_told_twice_has_one_counterpart() -> None:
    assert counts(found((SQUARE, 0.9, 0)), found((SQUARE, 0.9, 0), (SQUARE, 0.9, 0))) == (1, 1, 0)


def test_score_near_the_threshold_may_come_or_go() -> None:
    assert counts(found((FAR, 0.0505, 0)), found()) == (0, 0, 0)
    assert counts(found((FAR, 0.0515, 0)), found()) == (0, 1, 0)


def test_overlap_that_ties_with_the_nms_threshold_is_excused() -> None:
    assert counts(found((SQUARE, 0.9, 0), (HALF, 0.8, 0)), found((SQUARE, 0.9, 0))) == (1, 0, 1)


@pytest.mark.parametrize(
    ("second", "label"),
    [((0.0, 0.0, 10.0, 4.98), 0), ((0.0, 0.0, 10.0, 5.02), 0), (HALF, 1)],
    ids=["below", "above", "other class"],
)
def test_overlap_that_does_not_tie_is_a_fault(second: tuple[float, ...], label: int) -> None:
    both = found((SQUARE, 0.9, 0), (second, 0.8, label))
    assert counts(both, found((SQUARE, 0.9, 0))) == (1, 1, 0)


def test_weaker_box_explains_no_absence() -> None:
    both = found((SQUARE, 0.9, 0), (HALF, 0.8, 0))
    assert counts(both, found((HALF, 0.8, 0))) == (1, 1, 0)


SHIFTED = (1.0, 0.0, 11.0, 10.0)


def test_boxes_of_equal_score_may_suppress_either_if_both_sides_know_them() -> None:
    both = found((SQUARE, 0.9, 0), (SHIFTED, 0.900001, 0))
    one, other = found((SQUARE, 0.9, 0)), found((SHIFTED, 0.900001, 0))
    assert counts(one, other, evidence=Evidence(both, both)) == (0, 0, 2)
    # A box that only one side knows is a wrong box, not another choice.
    assert counts(one, other, evidence=Evidence(one, other)) == (0, 2, 0)
    assert counts(one, other) == (0, 2, 0)


def test_boxes_of_other_scores_suppress_in_order() -> None:
    both = found((SQUARE, 0.9, 0), (SHIFTED, 0.9001, 0))
    one, other = found((SQUARE, 0.9, 0)), found((SHIFTED, 0.9001, 0))
    assert counts(one, other, evidence=Evidence(both, both)) == (0, 2, 0)


def test_what_an_excused_box_suppresses_is_excused_with_it() -> None:
    third = (0.0, 0.0, 10.0, 4.0)  # IoU .4 with the square, .8 with the half
    one = found((SQUARE, 0.9, 0), (HALF, 0.8, 0))
    other = found((SQUARE, 0.9, 0), (third, 0.7, 0))
    assert counts(one, other) == (1, 0, 2)


def test_last_of_a_full_list_may_be_pushed_out() -> None:
    two = THRESHOLDS.model_copy(update={"max_detections": 2})
    low, lower = ((100.0, 0.0, 110.0, 10.0), 0.7, 0), ((200.0, 0.0, 210.0, 10.0), 0.5, 0)
    with_half = found((SQUARE, 0.9, 0), (HALF, 0.8, 0))
    assert counts(with_half, found((SQUARE, 0.9, 0), low), thresholds=two) == (1, 0, 2)
    # The list is not full: what it lacks is lacking.
    assert counts(found((SQUARE, 0.9, 0), low), found((SQUARE, 0.9, 0)), thresholds=two)[1] == 1
    # Rows past the cap are a fault even though the other list is full.
    full = found((SQUARE, 0.9, 0), low)
    assert counts(full, found((SQUARE, 0.9, 0), low, lower), thresholds=two) == (2, 1, 0)


def test_score_at_a_cut_of_the_top_k_is_excused() -> None:
    for cut, expected in ((0.300005, (0, 0, 1)), (0.3001, (0, 1, 0))):
        evidence = Evidence(found((FAR, 0.3, 0)), found(), [cut])
        assert counts(found((FAR, 0.3, 0)), found(), evidence=evidence) == expected


def test_ties_of_a_coarse_grid_are_never_faults() -> None:
    """Boxes and scores on a grid tie everywhere; the last bits decide, differently each time."""
    tied = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        corners = random.integers(0, 6, (40, 2)) * 4.0
        boxes = np.concatenate([corners, corners + random.integers(1, 4, (40, 2)) * 8.0], 1)
        scores = random.integers(3, 9, 40) / 10
        classes = random.integers(0, 2, 40)
        sides, candidates = [], []
        for _ in range(2):
            near = torch.tensor(boxes + random.normal(0, 1e-6, boxes.shape), dtype=torch.float32)
            ranks = torch.tensor(scores + random.normal(0, 1e-7, 40), dtype=torch.float32)
            labels = torch.tensor(classes)
            candidates.append(Detections(*(p.numpy() for p in (near, ranks, labels))))
            keep = class_wise_nms(near, ranks, labels, 0.5)[:12]
            sides.append(Detections(*(p[keep].numpy() for p in (near, ranks, labels))))
        cap = THRESHOLDS.model_copy(update={"max_detections": 12})
        result = compared(*sides, FP32, cap, Evidence(*candidates))
        assert result.unmatched == 0, seed
        tied += result.tied
    assert tied > 20


def test_missing_detection_among_boxes_without_ties_is_always_a_fault() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        corners = random.uniform(0, 60, (30, 2))
        boxes = np.concatenate([corners, corners + random.uniform(5, 30, (30, 2))], 1)
        keep = class_wise_nms(
            torch.tensor(boxes),
            scores := torch.tensor(random.random(30)),
            torch.zeros(30, dtype=torch.int64),
            0.5,
        ).numpy()
        whole = Detections(
            boxes[keep].astype(np.float32),
            (0.1 + 0.9 * scores.numpy()[keep]).astype(np.float32),
            np.zeros_like(keep),
        )
        rest = np.ones(len(whole), bool)
        rest[random.integers(len(whole))] = False
        result = compared(whole, whole.where(rest), FP32, THRESHOLDS)
        assert (result.unmatched, result.tied) == (1, 0), seed


def test_figures_say_how_far_apart_counterparts_are() -> None:
    differences = Differences(FP32, THRESHOLDS)
    differences.compare(
        found((SQUARE, 0.9, 0), (FAR, 0.8, 1)),
        found(((0.0, 0.0, 10.0, 9.96), 0.9005, 0), (FAR, 0.8, 1)),
    )
    report = differences.report()
    assert (report["images"], report["detections"], report["matched_share"]) == (1, 4, 1.0)
    assert report["worst_box_px"] == pytest.approx(0.04, abs=1e-6)
    assert report["mean_box_px"] == pytest.approx(0.02, abs=1e-6)
    assert report["least_iou"] == pytest.approx(0.996, abs=1e-6)
    assert report["worst_score"] == pytest.approx(5e-4, abs=1e-6)
    assert differences.beyond() is None


def test_first_figure_past_its_bound_is_named() -> None:
    differences = Differences(FP32, THRESHOLDS)
    differences.compare(found(((0, 0, 100, 100), 0.9, 0)), found(((0, 0, 100, 99.9), 0.9, 0)))
    assert differences.beyond() == "worst_box_px is 0.0999985, the bound is 0.05"


def test_nothing_compared_is_past_the_bounds() -> None:
    differences = Differences(BOUNDS["int8"], THRESHOLDS)
    differences.compare(found(), found())
    assert differences.beyond() == "matched_share is 0, the bound is 0.25"


def test_ties_everywhere_are_no_excuse() -> None:
    differences = Differences(replace(FP32, matched=0.0), THRESHOLDS)
    differences.compare(found((SQUARE, 0.9, 0), (HALF, 0.8, 0)), found((SQUARE, 0.9, 0)))
    assert differences.beyond() == "tied_share is 0.333333, the bound is 0.05"


def test_figure_that_is_no_number_is_past_its_bound() -> None:
    differences = Differences(FP32, THRESHOLDS)
    broken = found(((np.nan, 0.0, 10.0, 10.0), 0.9, 0))
    differences.compare(broken, broken)
    assert differences.beyond() is not None


def test_eight_bit_boxes_are_judged_by_overlap_at_any_size() -> None:
    for size in (10.0, 1000.0):
        for share, within in ((0.8, True), (0.6, False)):
            differences = Differences(BOUNDS["int8"], THRESHOLDS)
            differences.compare(
                found(((0, 0, size, size), 0.9, 0)), found(((0, 0, size, share * size), 0.9, 0))
            )
            assert (differences.beyond() is None) == within
