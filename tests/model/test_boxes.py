"""Overlaps and deltas against hand values."""

from __future__ import annotations

import pytest
import torch

import model.boxes as boxes_module
from model.boxes import area_of, decode_boxes, encode_boxes, iou_of, nms, paired_iou_of

BOX = torch.tensor([[0.0, 0.0, 10.0, 10.0]])


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 5, 15, 15), 25 / 175),
        ((0, 0, 10, 5), 0.5),
        ((10, 0, 20, 10), 0.0),
        ((30, 30, 40, 40), 0.0),
        ((5, 5, 5, 5), 0.0),
    ],
)
def test_iou_of_hand_cases(other: tuple[int, ...], iou: float) -> None:
    assert iou_of(BOX, torch.tensor([other], dtype=torch.float32)).item() == pytest.approx(iou)


def test_iou_of_two_empty_boxes_is_zero() -> None:
    empty = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert iou_of(empty, empty).item() == 0.0


def test_area_of_a_reversed_box_is_zero() -> None:
    assert area_of(torch.tensor([[10.0, 10.0, 0.0, 0.0]])).item() == 0.0


def test_iou_is_pairwise() -> None:
    assert iou_of(BOX.expand(3, 4), BOX.expand(2, 4)).shape == (3, 2)


def test_encoding_of_a_hand_case() -> None:
    anchor = torch.tensor([0.0, 0.0, 10.0, 20.0])
    box = torch.tensor([5.0, 5.0, 25.0, 15.0])
    # Centres (5, 10) and (15, 10); sides 10 x 20 and 20 x 10.
    assert encode_boxes(box, anchor).tolist() == pytest.approx([1.0, 0.0, 0.693147, -0.693147])


def test_decoding_of_a_hand_case() -> None:
    anchor = torch.tensor([0.0, 0.0, 10.0, 20.0])
    deltas = torch.tensor([1.0, 0.0, 0.693147, -0.693147])
    assert decode_boxes(deltas, anchor).tolist() == pytest.approx([5, 5, 25, 15], abs=1e-4)


def test_decoding_inverts_encoding() -> None:
    corner = torch.rand(50, 2) * 400
    boxes = torch.cat([corner, corner + 1 + torch.rand(50, 2) * 300], dim=1)
    anchors = boxes.roll(1, 0)
    assert torch.allclose(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-2)


def test_sides_are_bounded_at_62_times_the_anchor() -> None:
    box = decode_boxes(torch.tensor([[0.0, 0.0, 50.0, 1e30]]), BOX)
    assert (box[:, 2:] - box[:, :2]).tolist() == [[pytest.approx(625.0), pytest.approx(625.0)]]


def test_half_precision_deltas_are_decoded_in_float32() -> None:
    anchor = torch.tensor([[0.0, 0.0, 813.0, 813.0]])
    box = decode_boxes(torch.tensor([[0.0, 0.0, 4.5, 4.5]], dtype=torch.float16), anchor)
    assert box.dtype == torch.float32
    assert (box[0, 2] - box[0, 0]).item() == pytest.approx(50812.5, rel=1e-4)


def test_paired_iou_is_the_diagonal_of_the_pairwise() -> None:
    corner = torch.rand(20, 2) * 20
    a = torch.cat([corner, corner + 5 + torch.rand(20, 2) * 20], dim=1)
    b = a.roll(1, 0)
    assert torch.equal(paired_iou_of(a, b), iou_of(a, b).diagonal())


def greedy_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    """By the definition: each box in turn against those kept so far."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i].item(), i)):
        if not kept or iou_of(boxes[i, None], boxes[kept]).amax() <= threshold:
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("block", [1, 16, 1024])
def test_nms_is_greedy_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, block: int, threshold: float
) -> None:
    monkeypatch.setattr(boxes_module, "_NMS_BLOCK", block)
    corner = torch.randint(0, 60, (200, 2)).float()
    boxes = torch.cat([corner, corner + torch.randint(8, 20, (200, 2))], dim=1)
    scores = (torch.rand(200) * 50).round()  # many ties
    kept = greedy_nms(boxes, scores, threshold)
    assert nms(boxes, scores, threshold).tolist() == kept
    assert nms(boxes, scores, threshold, limit=17).tolist() == kept[:17]


def test_nms_of_nothing_is_nothing() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
    assert nms(BOX, torch.zeros(1), 0.5, limit=0).tolist() == []


def test_nms_with_a_limit_looks_at_no_more_boxes_than_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []

    def counting(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        looked.append(len(b))
        return iou_of(a, b)

    monkeypatch.setattr(boxes_module, "iou_of", counting)
    left = torch.arange(20_000) * 20.0
    boxes = torch.stack([left, left * 0, left + 10, left * 0 + 10], dim=1)
    assert nms(boxes, -left, 0.5, limit=3).tolist() == [0, 1, 2]
    assert 3 <= sum(looked) < 2_000
