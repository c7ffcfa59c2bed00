"""Anchors against a table worked out by hand."""

from __future__ import annotations

import pytest
import torch

from model.anchors import anchors_of_canvas
from model.geometry import AnchorSpec, grid_of_canvas

# Width and height of P3's anchors: 32 * scale / sqrt(ratio) by 32 * scale * sqrt(ratio).
P3_SIDES = [
    (45.2548, 22.6274),
    (57.0175, 28.5088),
    (71.8376, 35.9188),
    (32.0, 32.0),
    (40.3175, 40.3175),
    (50.7968, 50.7968),
    (22.6274, 45.2548),
    (28.5088, 57.0175),
    (35.9188, 71.8376),
]


def test_first_location_of_p3_matches_the_table() -> None:
    first = anchors_of_canvas((64, 64))[0][:9]
    table = torch.tensor([[4 - w / 2, 4 - h / 2, 4 + w / 2, 4 + h / 2] for w, h in P3_SIDES])
    assert torch.allclose(first, table, atol=1e-3)


def test_counts_on_480x640() -> None:
    assert [len(level) for level in anchors_of_canvas((480, 640))] == [43200, 10800, 2700, 720, 180]


def test_x_runs_fastest_among_locations() -> None:
    level = anchors_of_canvas((64, 96))[0]
    centres = (level[:, :2] + level[:, 2:]) / 2
    assert torch.allclose(centres[9], torch.tensor([12.0, 4.0]))
    assert torch.allclose(centres[9 * 12], torch.tensor([4.0, 12.0]))


@pytest.mark.parametrize(("level", "side"), list(enumerate([32, 64, 128, 256, 512])))
def test_areas_and_ratios_are_those_of_the_paper(level: int, side: int) -> None:
    boxes = anchors_of_canvas((128, 128))[level][:9]
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = torch.tensor([1.0, 1.587401, 2.519842] * 3) * side**2
    assert torch.allclose(sides.prod(dim=1), areas, rtol=1e-4)
    assert torch.allclose(
        sides[:, 1] / sides[:, 0], torch.tensor([0.5] * 3 + [1.0] * 3 + [2.0] * 3)
    )


def test_strides_do_not_follow_the_padded_size() -> None:
    # 800 / 13 rows would give 61 on P6, 1344 / 11 columns 122 on P7.
    levels = anchors_of_canvas((800, 1344))
    for level, stride in ((levels[3], 64.0), (levels[4], 128.0)):
        x1 = level[::9, 0]
        assert x1[1] - x1[0] == stride


def test_offset_zero_centres_anchors_on_the_cell_corner() -> None:
    first = anchors_of_canvas((32, 32), AnchorSpec(offset=0.0))[4][0]
    assert torch.allclose(first[:2], -first[2:])


def test_torchvision_rounding_gives_whole_pixels() -> None:
    spec = AnchorSpec(offset=0.0, rounding="torchvision")
    levels = anchors_of_canvas((128, 256), spec)
    assert levels[0][0].tolist() == [-23.0, -11.0, 23.0, 11.0]
    # The second column of P6, its middle square: 64 pixels to the right, 322 wide.
    assert levels[3][9 + 4].tolist() == [64.0 - 161.0, -161.0, 64.0 + 161.0, 161.0]
    assert all(torch.equal(level, level.round()) for level in levels)


def test_default_grid_is_symmetric_under_flips() -> None:
    canvas = (128, 256)
    for level, stride in zip(anchors_of_canvas(canvas), (8, 16, 32, 64, 128), strict=True):
        rows, columns = grid_of_canvas(canvas, stride)
        grid = level.reshape(rows, columns, 9, 4)
        mirrored = torch.stack(
            [256 - grid[..., 2], grid[..., 1], 256 - grid[..., 0], grid[..., 3]], dim=-1
        )
        assert torch.allclose(mirrored.flip(1), grid, atol=1e-3)
