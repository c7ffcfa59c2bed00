"""Small scenes for NMS, with what greedy NMS in whole numbers keeps of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st


class Case(NamedTuple):
    boxes: list[tuple[int, int, int, int]]
    scores: list[float]
    classes: list[int]
    score_threshold: float = 0.0
    iou_threshold: float = 0.5
    cap: int = 300


def greedy(case: Case) -> list[bool]:
    """What greedy class-wise NMS keeps; boxes with whole corners, so nothing is rounded."""
    order = sorted(range(len(case.boxes)), key=lambda i: (-case.scores[i], i))
    kept: list[int] = []
    for i in order:
        if not case.scores[i] > case.score_threshold:
            continue
        rivals = [j for j in kept if case.classes[j] == case.classes[i]]
        if len(rivals) < case.cap and not any(
            overlap_passes(case.boxes[i], case.boxes[j], case.iou_threshold) for j in rivals
        ):
            kept.append(i)
    return [i in kept for i in range(len(case.boxes))]


def overlap_passes(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int], threshold: float
) -> bool:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0, width) * max(0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter > threshold * union


A = (0, 0, 10, 10)
HALF_OF_A = (0, 0, 10, 5)  # IoU with A is exactly 1/2
MOST_OF_A = (0, 0, 10, 6)
CASES = {
    "identical boxes keep the better": (Case([A, A], [0.5, 0.75], [0, 0]), [False, True]),
    "equal scores keep the first": (Case([A, A, A], [0.5] * 3, [0] * 3), [True, False, False]),
    "other classes do not matter": (Case([A, A, A], [0.5, 0.75, 0.25], [0, 1, 2]), [True] * 3),
    "IoU at the threshold is kept": (Case([A, HALF_OF_A], [0.75, 0.5], [0, 0]), [True, True]),
    "IoU past the threshold is not": (Case([A, MOST_OF_A], [0.75, 0.5], [0, 0]), [True, False]),
    "score at the threshold is dropped": (
        Case([A, (20, 0, 30, 10)], [0.25, 0.5], [0, 0], score_threshold=0.25),
        [False, True],
    ),
    "a dropped score suppresses nothing": (
        Case([A, A], [0.25, 0.5], [0, 1], score_threshold=0.25),
        [False, True],
    ),
    # The middle of a chain goes, so the last, which only it overlaps, stays.
    "a suppressed box suppresses nothing": (
        Case([(0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10)], [0.875, 0.75, 0.625], [0, 0, 0]),
        [True, False, True],
    ),
    "the cap holds for each class": (
        Case(
            [(20 * i, 0, 20 * i + 10, 10) for i in range(4)],
            [0.4, 0.6, 0.5, 0.3],
            [1, 1, 1, 2],
            cap=2,
        ),
        [False, True, True, True],
    ),
    "touching boxes are apart": (
        Case([A, (10, 0, 20, 10)], [0.875, 0.75], [0, 0], iou_threshold=0.0),
        [True, True],
    ),
    "at threshold 1 even duplicates stay": (
        Case([A, A], [0.875, 0.75], [0, 0], iou_threshold=1.0),
        [True, True],
    ),
    "nothing above the threshold": (Case([A, A], [0.0, 0.0], [0, 1]), [False, False]),
}


sides = st.tuples(st.integers(1, 8), st.integers(1, 8))
corners = st.tuples(st.integers(0, 12), st.integers(0, 12))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small whole boxes and few scores, so that ties, duplicates and chains are common."""
    places = draw(st.lists(st.tuples(corners, sides), min_size=1, max_size=25))
    count = len(places)
    return Case(
        [(x, y, x + width, y + height) for (x, y), (width, height) in places],
        draw(st.lists(st.sampled_from([0.125, 0.25, 0.5, 0.75]), min_size=count, max_size=count)),
        draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)),
        draw(st.sampled_from([0.0, 0.125, 0.25])),
        draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        draw(st.sampled_from([1, 3, 300])),
    )
