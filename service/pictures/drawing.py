"""A picture with its detections drawn on it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from export.engines.session import Detections

GOLDEN_RATIO = 0.618034
"""Steps of this around the colour wheel keep the hues of any number of classes apart."""

FIRST_HUE = 0.9
"""Magenta, then cyan and yellow: the first three stand out on blood cells."""

Colour = tuple[int, int, int]

Rectangle = tuple[float, float, float, float]
"""xyxy image pixels."""


def class_colour(index: int) -> Colour:
    """The colour of a class: the same in every picture, light enough for black text."""
    red, green, blue = colorsys.hls_to_rgb((FIRST_HUE + index * GOLDEN_RATIO) % 1.0, 0.6, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(
    image: Image.Image, detections: Detections, labels: Sequence[str]
) -> Image.Image:
    """A copy of the image with each box in its class's colour, label and score at its top.

    `detections` in image pixels, `labels` by class index. The best detections are drawn last, so
    that they lie on top. A label that would hide a better detection's is left out: the many boxes
    of a weak model would bury the picture. Line and font sizes follow the size of the image.
    """
    picture = image.convert("RGB")
    if picture is image:
        picture = image.copy()
    draw = ImageDraw.Draw(picture)
    short = min(picture.size)
    line = max(1, round(short / 240))
    font = ImageFont.load_default(size=max(10, round(short / 36)))
    rows = list(
        zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.classes.tolist(),
            strict=True,
        )
    )
    for box, _, index in reversed(rows):
        # The last pixel is one short of the size: an edge of the image would be drawn outside it.
        last = (picture.width - 1, picture.height - 1) * 2
        inside = [min(side, bound) for side, bound in zip(box, last, strict=True)]
        draw.rectangle(inside, outline=class_colour(index), width=line)
    tags: list[Rectangle] = []
    for box, score, index in rows:
        _tag(draw, box, f"{labels[index]} {score:.2f}", class_colour(index), font, tags)
    return picture


def _tag(
    draw: ImageDraw.ImageDraw,
    box: list[float],
    text: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    tags: list[Rectangle],
) -> None:
    """Writes text above the box, or inside it at the top where there is no room above.

    `tags`: where text is already, which is not written over; the new one's place is added.
    """
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(1.0, (bottom - top) / 6)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(box[0], max(0.0, draw.im.size[0] - width))
    y = box[1] - height if box[1] >= height else box[1]
    place = (x, y, x + width, y + height)
    if any(_overlap(place, other) for other in tags):
        return
    tags.append(place)
    draw.rectangle(place, fill=colour)
    draw.text((x + pad - left, y + pad - top), text, fill="black", font=font)


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return all(one[i] < other[i + 2] and other[i] < one[i + 2] for i in (0, 1))
