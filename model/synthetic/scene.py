"""Drawn blood smears: a whole microscope scene with the exact box of every cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.synthetic.camera import photograph
from model.synthetic.classes import CLASS_NAMES, PLATELET, RED
from model.synthetic.debris import scatter_debris
from model.synthetic.look import REFERENCE_SIDE_PX, Look, draw_look
from model.synthetic.patch import Patch
from model.synthetic.placement import PlacedCell, place_cells
from model.synthetic.platelet import paint_platelet
from model.synthetic.red_cell import paint_red_cell
from model.synthetic.white_cell import paint_white_cell

__all__ = ["CLASS_NAMES", "Scene", "check_scene", "draw_scene"]

SMALLEST_SIDE_PX = 64
"""Below this a platelet is under 3 pixels across."""


@dataclass(frozen=True)
class Scene:
    """A drawn image and its exact ground truth.

    Shapes: image uint8 [H, W, 3] RGB; boxes float32 [M, 4] xyxy in image pixels, continuous
    coordinates; class_indices int64 [M] into `CLASS_NAMES`.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    class_indices: NDArray[np.int64]


def draw_scene(seed: int, size: tuple[int, int] = (480, 640), share: float = 1.0) -> Scene:
    """The scene that `seed` stands for, of `size` (height, width); the same on every call.

    Cells keep their size relative to the shorter side, so a smaller scene is a smaller
    picture of the same field of view. Each cell is left out with probability 1 - `share`.
    Errors: InputError for a side below 64, a negative seed or a share outside 0..1.
    """
    check_scene(seed, size, share)
    height, width = size
    rng = np.random.default_rng(seed)
    look = draw_look(rng, min(height, width))
    density = np.zeros((3, height, width), dtype=np.float32)
    cells = place_cells(rng, (height, width), look)
    if share < 1:
        cells = [cell for cell in cells if rng.random() < share]
    patches = [paint_cell(rng, cell, look) for cell in cells]
    for patch in patches:
        patch.lay_over(density)
    unit = min(height, width) / REFERENCE_SIDE_PX
    perches = [(cell.outline.x, cell.outline.y) for cell in cells if cell.class_index == RED]
    scatter_debris(rng, density, look.debris_count, unit, perches)
    return Scene(
        image=photograph(rng, density, look),
        boxes=np.array([patch.box for patch in patches], dtype=np.float32).reshape(-1, 4),
        class_indices=np.array([cell.class_index for cell in cells], dtype=np.int64),
    )


def check_scene(seed: int, size: tuple[int, int], share: float = 1.0) -> None:
    """Nothing, if a scene can be drawn; else an InputError that says what is accepted."""
    if min(size) < SMALLEST_SIDE_PX:
        raise InputError(
            f"scene size {size[0]}x{size[1]} (height x width): "
            f"accepted are sides from {SMALLEST_SIDE_PX} pixels"
        )
    if seed < 0:
        raise InputError(f"scene seed {seed}: accepted are whole numbers from 0")
    if not 0.0 <= share <= 1.0:
        raise InputError(f"share of cells {share}: accepted are 0 to 1")


def paint_cell(rng: np.random.Generator, cell: PlacedCell, look: Look) -> Patch:
    """The stain of a placed cell of any class."""
    if cell.class_index == RED:
        return paint_red_cell(rng, cell.outline, cell.window, cell.trace, look.red)
    if cell.class_index == PLATELET:
        return paint_platelet(rng, cell.outline, cell.window, cell.trace, look.platelet)
    assert cell.kind is not None, "a white cell without a kind"
    return paint_white_cell(rng, cell.outline, cell.window, cell.trace, look.white, cell.kind)
