"""What the paper measured: Table 1e, on an Nvidia M40, one image at a time."""

from __future__ import annotations

from typing import NamedTuple

DEVICE = "M40"


class Point(NamedTuple):
    """`ms` per image on the M40; `ap` on COCO test-dev, in points."""

    ms: int
    ap: float


TABLE_1E: dict[str, dict[int, Point]] = {
    "resnet50": {
        400: Point(64, 30.5),
        500: Point(72, 32.5),
        600: Point(98, 34.3),
        700: Point(121, 35.1),
        800: Point(153, 35.7),
    },
    "resnet101": {
        400: Point(81, 31.9),
        500: Point(90, 34.4),
        600: Point(122, 36.0),
        700: Point(154, 37.1),
        800: Point(198, 37.8),
    },
}
"""By backbone and scale. Source: Focal Loss paper, Table 1e."""


def paper_point(backbone: str, scale: int) -> Point | None:
    """The paper's figures for a backbone and scale, where it has any."""
    return TABLE_1E.get(backbone, {}).get(scale)
