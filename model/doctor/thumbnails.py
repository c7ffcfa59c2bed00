"""Small pictures with boxes drawn on them, as data that a page can hold."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

from PIL import Image, ImageDraw

SIDE_PX = 520
"""Longer side of a thumbnail; the page shows it somewhat smaller."""

CONTEXT = 6.0
"""How many times the side of a box its surroundings are shown."""

LEAST_WINDOW_PX = 64

MOST_LETTERS = 24
"""Of a label; the rest of the picture should still be seen."""

Box = tuple[float, float, float, float]
Window = tuple[int, int, int, int]


class Marked(NamedTuple):
    """A box to draw, xyxy image pixels; the one that the picture is about is in `focus`."""

    box: Box
    focus: bool
    label: str = ""


def thumbnail(picture: Image.Image, boxes: Sequence[Marked], window: Window | None = None) -> str:
    """The picture, or a window of it, with boxes, as a JPEG data URI.

    Boxes are drawn after resizing, so that their lines are sharp; those in focus lie on top, and
    one without area becomes a cross. Where the window leaves the picture it is black.
    """
    left, top, right, bottom = window or (0, 0, *picture.size)
    factor = SIDE_PX / max(right - left, bottom - top)
    size = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    small = picture.crop((left, top, right, bottom)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(small)
    for marked in sorted(boxes, key=lambda m: m.focus):
        # What lies far outside is cut off there: Pillow takes no coordinates of any size.
        x1, x2 = (min(max((x - left) * factor, -_FAR), _FAR) for x in marked.box[::2])
        y1, y2 = (min(max((y - top) * factor, -_FAR), _FAR) for y in marked.box[1::2])
        if x2 - x1 < 1 or y2 - y1 < 1:
            _cross(draw, (x1 + x2) / 2, (y1 + y2) / 2, marked.focus)
            continue
        wide, colour = (3, _FOCUS) if marked.focus else (2, _OTHER)
        # A dark rim: the line is seen on any picture.
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_DARK, width=wide + 1)
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=wide)
        if marked.label:
            _tag(draw, x1, y1, marked.label)
    out = BytesIO()
    small.save(out, "JPEG", quality=82, subsampling=0)  # whole chroma: thin lines keep their colour
    return "data:image/jpeg;base64," + b64encode(out.getvalue()).decode("ascii")


def window_around(box: Box, picture: tuple[int, int]) -> Window:
    """The surroundings of a box on a picture of (width, height), of about its aspect ratio.

    They lie inside the picture; for a box outside they are the picture and as much more on that
    side as shows the box, up to twice its size.
    """
    sides = []
    outside = any(box[axis] >= picture[axis] or box[axis + 2] <= 0 for axis in (0, 1))
    wanted = max(LEAST_WINDOW_PX, CONTEXT * max(box[2] - box[0], box[3] - box[1]))
    share = min(1.0, wanted / max(picture))
    for axis, whole in enumerate(picture):
        if outside:
            low, high = max(min(box[axis], 0), -whole), min(max(box[axis + 2], whole), 2 * whole)
        else:
            side = max(1.0, whole * share)
            low = min(max((box[axis] + box[axis + 2] - side) / 2, 0.0), whole - side)
            high = low + side
        sides.append((math.floor(low), math.ceil(high)))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom


_FAR = 10.0 * SIDE_PX
_FOCUS, _OTHER, _DARK = "#ff2d55", "#19e3c2", "#101014"


def _tag(draw: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
    """Writes text inside the top left corner of a box, as far as it is in the picture."""
    corner = (max(x, 0.0) + 3, max(y, 0.0) + 2)
    text = text.encode("utf-8", "replace").decode("utf-8")[:MOST_LETTERS]
    draw.text(corner, text, fill="white", stroke_width=2, stroke_fill=_DARK, font_size=15)


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, focus: bool) -> None:
    arm = 9 if focus else 4
    for colour, width in ((_DARK, 6), (_FOCUS, 3)) if focus else ((_OTHER, 1),):
        draw.line((x - arm, y - arm, x + arm, y + arm), fill=colour, width=width)
        draw.line((x - arm, y + arm, x + arm, y - arm), fill=colour, width=width)
