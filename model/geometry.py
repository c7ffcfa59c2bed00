"""Where things lie: pyramid levels, anchors and box deltas as plain numbers.

No torch here: training, export and the service share these facts, and the service runs without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer

from model.errors import InputError

LEVELS = (3, 4, 5, 6, 7)
"""The feature pyramid levels P3..P7 (paper, sec. 4, 'Feature Pyramid Network Backbone')."""

STRIDES = (8, 16, 32, 64, 128)
"""Canvas pixels per location of each level: constants, never inferred from a padded size."""

CANVAS_MULTIPLE = 32
"""Both sides of a canvas are multiples of this: the x2 upsampling of the pyramid needs it."""

AnchorRounding = Literal["none", "torchvision"]

MAX_LOG_RATIO = math.log(1000.0 / 16.0)
"""Bound on the predicted log dw and log dh, so that exp() cannot overflow."""


@dataclass(frozen=True)
class AnchorSpec:
    """The anchors of every location; part of each checkpoint and manifest.

    `sizes`: square root of the anchor area on P3..P7, canvas pixels, for scale 1.
    `scales`: sub-octave factors on the size. `ratios`: height / width.
    `offset`: where a location's anchors are centred, in strides from its top left corner.
    `rounding`: `torchvision` cuts size * scale to whole pixels and rounds half of each side.
    Source: Focal Loss paper, sec. 4, 'Anchors': areas 32^2 to 512^2, scales 2^0, 2^(1/3), 2^(2/3),
    ratios 1:2, 1:1, 2:1. The paper does not say where a cell's centre is: .5 keeps the grid
    symmetric under flips; detectron2 and torchvision use 0.
    """

    sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    scales: tuple[float, ...] = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    offset: float = 0.5
    rounding: AnchorRounding = "none"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if len(self.sizes) != len(LEVELS):
            raise InputError(
                f"anchor sizes {self.sizes}: give one for each of the {len(LEVELS)} levels P3..P7"
            )
        for name in ("sizes", "scales", "ratios"):
            values = getattr(self, name)
            if not values or not all(math.isfinite(value) and value > 0 for value in values):
                raise InputError(f"anchor {name} {values}: give one or more positive numbers")
        if not 0.0 <= self.offset < 1.0:
            raise InputError(f"anchor offset {self.offset}: accepted is 0 <= offset < 1")
        if self.rounding not in get_args(AnchorRounding):
            raise InputError(
                f"anchor rounding {self.rounding!r}: accepted are "
                f"{', '.join(get_args(AnchorRounding))}"
            )
        if not all(min(shape) > 0 for level in range(len(LEVELS)) for shape in self.shapes(level)):
            raise InputError(f"anchor sizes {self.sizes}: too small to be rounded to whole pixels")

    @property
    def per_location(self) -> int:
        """How many anchors share a location (A; 9 in the paper)."""
        return len(self.scales) * len(self.ratios)

    def shapes(self, level_index: int) -> list[tuple[float, float]]:
        """(width, height) of a location's anchors on one level, ratios slowest."""
        sides = [self.sizes[level_index] * scale for scale in self.scales]
        if self.rounding == "torchvision":
            sides = [float(int(side)) for side in sides]
        shapes = [
            (side / math.sqrt(ratio), side * math.sqrt(ratio))
            for ratio in self.ratios
            for side in sides
        ]
        if self.rounding == "torchvision":
            # Half of 101 becomes 50, half of 203 becomes 102: torch too rounds to even.
            shapes = [(2.0 * round(width / 2), 2.0 * round(height / 2)) for width, height in shapes]
        return shapes

    @model_serializer(mode="wrap")
    def _serialised(self, fields_of: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As before there was a rounding: bundles of then are read now, and those of now were then.
        fields: dict[str, Any] = fields_of(self)
        if self.rounding == "none":
            del fields["rounding"]
        return fields


def grid_of_canvas(canvas: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of locations that a level of `stride` has on a (height, width) canvas."""
    return -(-canvas[0] // stride), -(-canvas[1] // stride)
