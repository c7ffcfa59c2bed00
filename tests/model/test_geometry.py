"""Anchor shapes and grids as plain numbers."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter

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


# torchvision's cell anchors of P3 to P7, read from its `AnchorGenerator` (0.28): widths and heights
# of the ratio 1:2, and the sides of the squares.
TORCHVISION_SHAPES = [
    ([(46, 22), (56, 28), (70, 36)], [32, 40, 50]),
    ([(90, 46), (114, 56), (142, 72)], [64, 80, 100]),
    ([(182, 90), (228, 114), (288, 144)], [128, 160, 204]),
    ([(362, 182), (456, 228), (574, 288)], [256, 322, 406]),
    ([(724, 362), (912, 456), (1148, 574)], [512, 644, 812]),
]


@pytest.mark.parametrize("level", range(5))
def test_torchvision_rounding_gives_torchvisions_anchors(level: int) -> None:
    wide, squares = TORCHVISION_SHAPES[level]
    expected = [*wide, *((side, side) for side in squares), *((h, w) for w, h in wide)]
    assert AnchorSpec(offset=0.0, rounding="torchvision").shapes(level) == expected


def test_default_rounding_is_left_out_of_json() -> None:
    """Graphs and manifests of before there was a rounding agree with those of now."""
    adapter = TypeAdapter(AnchorSpec)
    assert set(adapter.dump_python(AnchorSpec(), mode="json")) == {
        "sizes", "scales", "ratios", "offset",
    }  # fmt: skip
    assert adapter.validate_python({"offset": 0.0}) == AnchorSpec(offset=0.0)


def test_rounding_comes_back_from_json() -> None:
    adapter = TypeAdapter(AnchorSpec)
    spec = AnchorSpec(offset=0.0, rounding="torchvision")
    assert adapter.validate_json(adapter.dump_json(spec)) == spec


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
        ({"rounding": "up"}, "anchor rounding 'up': accepted are none, torchvision"),
        ({"rounding": "torchvision", "sizes": (1.0,) * 5}, "too small to be rounded"),
    ],
)
def test_bad_spec_names_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AnchorSpec(**change)  # type: ignore[arg-type]
