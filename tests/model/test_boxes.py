"""Overlaps and deltas against hand values."""

from __future__ import annotations

import pytest
import torch

from model.boxes import area_of, decode_boxes, encode_boxes, iou_of

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
