"""Thumbnails: what they show, and where they put the boxes."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from model.doctor.thumbnails import SIDE_PX, Marked, thumbnail, window_around


def pixels_of(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/jpeg;base64,")
    with Image.open(BytesIO(b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def reddish(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] > 150) & (pixels[..., 1] < 120)


def test_box_in_focus_is_drawn_where_it_is() -> None:
    grey = Image.new("RGB", (260, 130), "grey")
    pixels = pixels_of(thumbnail(grey, [Marked((50, 25, 150, 75), focus=True)]))
    assert pixels.shape == (SIDE_PX // 2, SIDE_PX, 3)
    rows, columns = np.nonzero(reddish(pixels))
    found = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert found == pytest.approx([100, 50, 300, 150], abs=3)  # twice as large, 3 px of line


def test_box_without_area_is_a_cross() -> None:
    grey = Image.new("RGB", (100, 100), "grey")
    pixels = pixels_of(thumbnail(grey, [Marked((50, 50, 50, 50), focus=True)]))
    rows, columns = np.nonzero(reddish(pixels))
    assert len(rows) > 20
    assert (rows.mean(), columns.mean()) == pytest.approx((SIDE_PX / 2, SIDE_PX / 2), abs=2)


@pytest.mark.parametrize(
    "box", [(-500.0, -500.0, 900.0, 900.0), (1e30, 1e30, 2e30, 2e30), (5.0, 5.0, 1.0, 1.0)]
)
def test_boxes_far_outside_are_drawn_or_not_but_never_fatal(
    box: tuple[float, float, float, float],
) -> None:
    grey = Image.new("RGB", (64, 48), "grey")
    thumbnail(grey, [Marked(box, focus=True, label="x")], window_around(box, grey.size))


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((500, 400, 520, 410), (450, 367, 570, 443)),  # six times 20 px wide
        ((0, 0, 20, 10), (0, 0, 120, 75)),
        ((790, 490, 800, 500), (736, 460, 800, 500)),  # no smaller than 64 px
        ((0, 0, 800, 500), (0, 0, 800, 500)),
        ((-60, 20, -10, 90), (-60, 0, 800, 500)),
        ((5000, 20, 6000, 90), (0, 0, 1600, 500)),
    ],
)
def test_window_lies_around_the_box(
    box: tuple[float, float, float, float], window: tuple[int, int, int, int]
) -> None:
    assert window_around(box, (800, 500)) == window
