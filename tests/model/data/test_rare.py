"""Repeat factors against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.rare import repeat_factors


def shown(*classes: list[int]) -> list[np.ndarray]:
    return [np.array(entry, np.int64) for entry in classes]


def test_picture_has_the_factor_of_its_rarest_class() -> None:
    # Class 0 on 4 of 4 pictures, class 1 on one, class 2 on none.
    pictures = shown([0], [0, 0, 1], [0], [0])
    # sqrt(.36 / .25) = 1.2; .36 is less than class 0's share of 1.
    assert repeat_factors(pictures, 3, 0.36) == pytest.approx([1.0, 1.2, 1.0, 1.0])


def test_boxes_of_a_class_count_once_a_picture() -> None:
    pictures = shown([0, 0, 0, 0], [1], [1], [1])
    assert repeat_factors(pictures, 2, 0.5) == pytest.approx([2**0.5, 1.0, 1.0, 1.0])


def test_picture_without_boxes_appears_once() -> None:
    assert repeat_factors(shown([], [0]), 1, 1.0) == pytest.approx([1.0, 2**0.5])


def test_threshold_of_zero_repeats_nothing() -> None:
    assert repeat_factors(shown([0], [1], [1]), 2, 0.0).tolist() == [1.0, 1.0, 1.0]
