"""NMS in plain tensor operators, against greedy NMS in whole numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from export.engines.exact_nms import exact_nms
from export.engines.session import Detections
from export.fixpoint_nms import ROUNDS, Ranked, fixpoint_nms
from tests.export.nms_cases import CASES, Case, cases, greedy

BLOCK = 7
"""So that a handful of boxes takes several."""


def ranked(case: Case, block: int = BLOCK, rounds: int = ROUNDS) -> Ranked:
    boxes = torch.tensor([case.boxes], dtype=torch.float32)
    scores = torch.tensor([case.scores])
    scores = torch.where(scores > case.score_threshold, scores, 0.0)
    classes = torch.tensor([case.classes])
    threshold = torch.tensor([case.iou_threshold])
    return fixpoint_nms(boxes, scores, classes, threshold, block=block, rounds=rounds)


def rows_of(boxes: Tensor, scores: Tensor, classes: Tensor) -> list[tuple[float, ...]]:
    return list(map(tuple, torch.cat([boxes, scores[:, None], classes[:, None]], dim=1).tolist()))


def kept_by_fixpoint(case: Case, block: int = BLOCK) -> list[tuple[float, ...]]:
    found = ranked(case, block)
    assert found.converged.tolist() == [True]
    keep = found.keep[0]
    return rows_of(found.boxes[0][keep], found.scores[0][keep], found.classes[0][keep])


def kept_by_greedy(case: Case) -> list[tuple[float, ...]]:
    order = sorted(range(len(case.boxes)), key=lambda i: (-case.scores[i], i))
    keep = greedy(case._replace(cap=len(case.boxes)))
    return [(*case.boxes[i], case.scores[i], case.classes[i]) for i in order if keep[i]]


def chain(count: int) -> Case:
    """Each box overlaps the next alone: every second one stays, and each decides the next."""
    return Case(
        [(4 * i, 0, 4 * i + 10, 10) for i in range(count)],
        falling(count),
        [0] * count,
        iou_threshold=0.3,
    )


def falling(count: int) -> list[float]:
    return [1.0 - i / 1024 for i in range(count)]


@pytest.mark.parametrize("name", [name for name in CASES if "cap" not in name])
def test_keeps_what_greedy_nms_keeps(name: str) -> None:
    case, _ = CASES[name]
    assert kept_by_fixpoint(case) == kept_by_greedy(case)


@given(cases())
@settings(deadline=None, max_examples=60)
def test_keeps_what_greedy_nms_keeps_of_anything(case: Case) -> None:
    assert kept_by_fixpoint(case) == kept_by_greedy(case)


@given(cases())
@settings(deadline=None, max_examples=20)
def test_blocks_do_not_matter(case: Case) -> None:
    assert kept_by_fixpoint(case, block=3) == kept_by_fixpoint(case, block=1000)


def test_candidates_come_by_score_and_equal_ones_by_index() -> None:
    boxes = [(i, 0, i + 1, 1) for i in range(9)]
    scores = [0.5, 0.25, 0.75, 0.5, 0.0, 0.75, 0.5, 0.25, 0.0]
    found = ranked(Case(boxes, scores, [0] * 9), block=4)
    assert found.boxes[0, :, 0].tolist() == [2, 5, 0, 3, 6, 1, 7, 4, 8]
    assert found.scores[0].tolist() == sorted(scores, reverse=True)


def test_images_of_a_batch_are_apart() -> None:
    single = chain(ROUNDS + 5)
    boxes = torch.tensor(
        [single.boxes, [(100 * i, 0, 100 * i + 10, 10) for i in range(ROUNDS + 5)]]
    )
    scores = torch.tensor([single.scores] * 2)
    found = fixpoint_nms(
        boxes.float(), scores, torch.zeros_like(scores).long(), torch.tensor([0.3])
    )
    assert found.converged.tolist() == [False, True]
    assert found.keep[1].all()


@pytest.mark.parametrize("count", [2, 5, ROUNDS, ROUNDS + 1, ROUNDS + 2, 40])
def test_converged_says_whether_the_rounds_sufficed(count: int) -> None:
    """A chain is decided a box a round, and the first needs none; the last round is to be sure."""
    found = ranked(chain(count), block=100)
    exact = [i % 2 == 0 for i in range(count)]
    assert found.converged.tolist() == [count <= ROUNDS]
    assert (found.keep[0].tolist() == exact) == (count <= ROUNDS + 1)


def test_where_it_does_not_converge_the_fallback_is_exact() -> None:
    case = chain(60)
    assert not ranked(case, block=1000).converged
    candidates = Detections(
        torch.tensor(case.boxes).float().numpy(),
        torch.tensor(case.scores).numpy(),
        torch.tensor(case.classes).numpy(),
    )
    found = exact_nms(candidates, case.iou_threshold, 300)
    assert found.boxes[:, 0].tolist() == list(range(0, 240, 8))


def test_smaller_blocks_need_fewer_rounds() -> None:
    """A chain is cut where a block ends: what came before is decided by then."""
    assert ranked(chain(60), block=10).converged


def test_every_candidate_may_overlap_every_other_in_half_precision() -> None:
    """5,000 rivals are more than half precision counts one by one, and still some."""
    count = 5000
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0]]]).expand(1, count, 4)
    scores = torch.full((1, count), 0.5)
    found = fixpoint_nms(boxes, scores, torch.zeros(1, count).long(), torch.tensor([0.5]), rounds=2)
    assert found.converged.all()
    assert found.keep.sum() == 1
    assert found.keep[0, 0]


@pytest.mark.parametrize(("inter", "union"), [(3, 5), (1, 3), (7, 10), (9, 20)])
def test_an_overlap_as_large_as_the_threshold_is_kept(inter: int, union: int) -> None:
    """The quotient of two small whole numbers is rounded as the threshold is; a product of the
    threshold and the union may be rounded to below the intersection.
    """
    boxes = [(0, 0, union, 1), (0, 0, inter, 1)]
    case = Case(boxes, [0.75, 0.5], [0, 0], iou_threshold=inter / union)
    assert len(kept_by_fixpoint(case)) == 2
