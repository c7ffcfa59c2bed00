"""Canvas bytes as the network sees them."""

from __future__ import annotations

import pytest
import torch

from model.normalise import normalise


def test_black_and_white_have_imagenet_values() -> None:
    images = torch.tensor([[[[0, 0, 0], [255, 255, 255]]]], dtype=torch.uint8)
    x = normalise(images, torch.tensor([[1, 2]]))
    assert x.shape == (1, 3, 1, 2)
    assert x[0, :, 0, 0].tolist() == pytest.approx([-2.11790, -2.03571, -1.80444], abs=1e-4)
    assert x[0, :, 0, 1].tolist() == pytest.approx([2.24891, 2.42857, 2.64000], abs=1e-4)


def test_outside_of_each_image_is_zero() -> None:
    x = normalise(torch.full((2, 4, 6, 3), 200, dtype=torch.uint8), torch.tensor([[2, 3], [4, 6]]))
    assert x[0, :, 2:].eq(0).all()
    assert x[0, :, :, 3:].eq(0).all()
    assert x[0, :, :2, :3].ne(0).all()
    assert x[1].ne(0).all()
