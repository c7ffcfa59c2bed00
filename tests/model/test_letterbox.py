"""Canvases, and where images lie in them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.letterbox import (
    Canvas,
    canvases_of_scale,
    fill_canvas,
    group_canvases,
    letterbox,
    resize_factor,
)


def test_canvases_of_scale_800_are_five() -> None:
    assert canvases_of_scale(800) == (
        (800, 1344),
        (800, 1088),
        (800, 800),
        (1344, 800),
        (1088, 800),
    )


def test_canvas_is_parsed_as_height_x_width() -> None:
    canvas = Canvas.parse(" 480X640 ")
    assert (canvas.height, canvas.width, str(canvas)) == (480, 640, "480x640")


@pytest.mark.parametrize("text", ["480", "480x", "480x640x3", "-32x32", "axb", ""])
def test_canvas_that_is_not_two_numbers_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="HEIGHTxWIDTH"):
        Canvas.parse(text)


@pytest.mark.parametrize("text", ["481x640", "0x32", "32x8224"])
def test_canvas_sides_must_be_multiples_of_32_in_range(text: str) -> None:
    with pytest.raises(InputError, match="multiples of 32 from 32 to 8192"):
        Canvas.parse(text)


def test_shorter_side_gets_the_scale() -> None:
    assert resize_factor((480, 640), 240) == 0.5


def test_longer_side_is_capped_at_1333_for_scale_800() -> None:
    assert resize_factor((100, 1000), 800) == pytest.approx(1.333)


@pytest.mark.parametrize(
    ("image_size", "canvas", "resized"),
    [
        ((480, 640), (800, 1088), (800, 1067)),
        ((640, 480), (1088, 800), (1067, 800)),
        ((500, 500), (800, 800), (800, 800)),
        ((100, 1000), (800, 1344), (133, 1333)),
        ((1, 100_000), (800, 1344), (1, 1333)),
    ],
)
def test_image_alone_decides_its_canvas_at_scale_800(
    image_size: tuple[int, int], canvas: tuple[int, int], resized: tuple[int, int]
) -> None:
    place = letterbox(image_size, 800, canvases_of_scale(800))
    assert (place.canvas, place.resized) == (canvas, resized)


def test_image_that_no_canvas_holds_at_its_scale_is_shrunk_to_fit() -> None:
    place = letterbox((480, 640), 480, [Canvas(96, 128)])
    assert place.resized == (96, 128)


def test_boxes_scale_by_the_rounded_size_along_each_side() -> None:
    place = letterbox((480, 640), 800, canvases_of_scale(800))
    box = np.array([[64.0, 48.0, 640.0, 480.0]], np.float32)
    on_canvas = place.boxes_to_canvas(box)
    assert on_canvas.tolist() == [[pytest.approx(106.7), 80.0, 1067.0, 800.0]]
    assert place.boxes_to_image(on_canvas) == pytest.approx(box, abs=1e-3)


def test_boxes_are_clipped_to_the_image_on_the_way_back() -> None:
    place = letterbox((100, 160), 100, [Canvas(128, 256)])
    found = place.boxes_to_image(np.array([[-5.0, 20.0, 300.0, 400.0]], np.float32))
    assert found.tolist() == [[0.0, 20.0, 160.0, 100.0]]


def test_fill_canvas_copies_the_pixels_of_an_image_that_fits_and_leaves_the_rest() -> None:
    pixels = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    place = letterbox((20, 30), 20, [Canvas(32, 32)])
    out = np.full((32, 32, 3), 7, np.uint8)
    fill_canvas(Image.fromarray(pixels), place, out)
    assert np.array_equal(out[:20, :30], pixels)
    assert (out[20:] == 7).all()
    assert (out[:, 30:] == 7).all()


def test_each_canvas_serves_the_largest_scale_that_it_holds() -> None:
    groups = group_canvases([320, 160], [Canvas(320, 448), Canvas(160, 224), Canvas(224, 160)])
    assert groups == {160: ((160, 224), (224, 160)), 320: ((320, 448),)}


def test_shorter_sides_are_the_scales_where_none_is_given() -> None:
    assert group_canvases([], [Canvas(480, 640)]) == {480: ((480, 640),)}


def test_scale_without_a_canvas_is_refused() -> None:
    with pytest.raises(InputError, match="scale 320 has no canvas"):
        group_canvases([160, 320], [Canvas(160, 224)])


def test_canvas_smaller_than_every_scale_is_refused() -> None:
    with pytest.raises(InputError, match="canvas 96x128 is smaller"):
        group_canvases([160], [Canvas(96, 128), Canvas(160, 160)])


def test_scale_zero_is_refused() -> None:
    with pytest.raises(InputError, match="scale 0"):
        canvases_of_scale(0)
