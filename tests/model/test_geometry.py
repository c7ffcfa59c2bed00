"""Anchor shapes and grids as plain numbers."""

from __future__ import annotations

import math

import pytest

from model.errors import InputError
from model.geometry import STRIDES, AnchorSpec, grid_of_canvas


def test_strides_are_the_constants_of_the_paper() -> None:
    assert STRIDES == (8, 16, 32, 64, 128)


def test_paper_spec_has_nine_anchors_per_location() -> None:
    assert AnchorSpec().per_location == 9


def test_shapes_are_width_height_ratio_slowest() -> None:
    spec = AnchorSpec(sizes=(10.0, 1.0, 1.0, 1.0, 1.0), scales=(1.0, 2.0), ratios=(0.25, 4.0))
    assert spec.shapes(0) == [(20.0, 5.0), (40.0, 10.0), (5.0, 20.0), (10.0, 40.0)]


def test_smallest_and_largest_anchor_sides_of_the_paper() -> None:
    spec = AnchorSpec()
    sides = [math.sqrt(w * h) for level in range(5) for w, h in spec.shapes(level)]
    assert min(sides) == pytest.approx(32.0)
    assert max(sides) == pytest.approx(812.75, abs=0.01)


@pytest.mark.parametrize(
    ("canvas", "stride", "grid"),
    [((480, 640), 8, (60, 80)), ((480, 640), 64, (8, 10)), ((480, 640), 128, (4, 5))],
)
def test_grid_is_rounded_up(canvas: tuple[int, int], stride: int, grid: tuple[int, int]) -> None:
    assert grid_of_canvas(canvas, stride) == grid


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (32.0, 64.0)}, "one for each of the 5 levels"),
        ({"scales": ()}, "anchor scales"),
        ({"scales": (-1.0,)}, "anchor scales"),
        ({"ratios": (math.nan,)}, "anchor ratios"),
        ({"offset": 1.0}, "anchor offset 1.0"),
    ],
)
def test_bad_spec_names_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AnchorSpec(**change)  # type: ignore[arg-type]
