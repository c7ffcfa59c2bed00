"""Anchors of a canvas, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from model.geometry import STRIDES, AnchorSpec, grid_of_canvas


def anchors_of_canvas(
    canvas: tuple[int, int],
    spec: AnchorSpec = AnchorSpec(),  # noqa: B008 - immutable
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """The anchors of each level P3..P7 on a (height, width) canvas.

    Shapes: per level [rows * columns * A, 4], float32: rows slowest, then columns (x fastest among
    locations), then the A anchors of a location (ratio-major, see `AnchorSpec.shapes`).
    Units: xyxy in canvas pixels, continuous, not clipped.
    Source: Focal Loss paper, sec. 4, 'Anchors'.
    """
    levels = []
    for index, stride in enumerate(STRIDES):
        rows, columns = grid_of_canvas(canvas, stride)
        y = (torch.arange(rows, dtype=torch.float32, device=device) + spec.offset) * stride
        x = (torch.arange(columns, dtype=torch.float32, device=device) + spec.offset) * stride
        centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack([centre_x, centre_y, centre_x, centre_y], dim=-1)
        half = torch.tensor(spec.shapes(index), dtype=torch.float32, device=device) / 2
        extents = torch.cat([-half, half], dim=-1)
        levels.append((centres[:, :, None] + extents).reshape(-1, 4))
    return levels
