"""The page's drawings, as inline SVG."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from model.doctor.coverage import Coverage
from model.geometry import LEVELS, AnchorSpec
from model.page.chart import WIDTH, line_of, svg_of, text_of
from model.page.markup import tag

POINTS = 2_500
"""Boxes drawn in the scatter, at random: more make a blot of megabytes."""

HEIGHT = 400
LEFT, BOTTOM, TOP, RIGHT = 66, 44, 12, 20


def size_scatter(
    sizes: NDArray[np.floating], reached: NDArray[np.bool_], spec: AnchorSpec
) -> Element:
    """Width against height of boxes [N, 2] on the canvas, with the shapes of the anchors."""
    shapes = [shape for level in range(len(LEVELS)) for shape in spec.shapes(level)]
    chosen = default_rng(0).permutation(len(sizes))[:POINTS]
    everything = np.concatenate([sizes[chosen], np.array(shapes)])
    low = math.floor(math.log2(max(0.5, everything.min())))
    high = math.ceil(math.log2(everything.max()))

    def x(value: float) -> float:
        return LEFT + (_log2(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (_log2(value) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    parts = []
    for power in range(low, high + 1):
        at = 2.0**power
        parts += [
            line_of(x(at), TOP, x(at), HEIGHT - BOTTOM),
            line_of(LEFT, y(at), WIDTH - RIGHT, y(at)),
            text_of(x(at), HEIGHT - BOTTOM + 16, f"{at:g}", "middle"),
            text_of(LEFT - 6, y(at) + 4, f"{at:g}", "end"),
        ]
    for index in chosen[np.argsort(~reached[chosen], kind="stable")].tolist():
        width, height = sizes[index].tolist()
        kind = "reached" if reached[index] else "missed"
        parts.append(tag("circle", cx=f"{x(width):.1f}", cy=f"{y(height):.1f}", r=2.2, class_=kind))
    for width, height in shapes:
        parts.append(
            tag("rect", x=f"{x(width) - 3.5:.1f}", y=f"{y(height) - 3.5:.1f}", width=7, height=7,
                class_="anchor")
        )  # fmt: skip
    parts.append(text_of((WIDTH + LEFT) / 2, HEIGHT - 8, "width on the canvas, px", "middle"))
    parts.append(_upright("height on the canvas, px"))
    return svg_of(parts, "Width and height of boxes against the anchors", HEIGHT)


def iou_histogram(coverage: Coverage) -> Element:
    """How many boxes have a best anchor of which IoU, in steps of .05."""
    counts, edges = np.histogram(coverage.best_iou, bins=20, range=(0.0, 1.0))
    most = max(1, int(counts.max()))
    slot = (WIDTH - LEFT - RIGHT) / len(counts)
    room = HEIGHT - BOTTOM - TOP
    parts = []
    step = round_step(most)
    for tick in range(0, most + 1, step):
        at = HEIGHT - BOTTOM - tick / most * room
        parts += [
            line_of(LEFT, at, WIDTH - RIGHT, at),
            text_of(LEFT - 6, at + 4, f"{tick:,}", "end"),
        ]
    for index, (count, edge) in enumerate(zip(counts.tolist(), edges.tolist(), strict=False)):
        tall = count / most * room
        kind = "reached" if edge >= coverage.foreground - 1e-9 else "missed"
        parts.append(
            tag("rect", tag("title", f"{edge:.2f} to {edge + 0.05:.2f}, boxes: {count}"),
                x=f"{LEFT + index * slot + 1:.1f}", y=f"{HEIGHT - BOTTOM - tall:.1f}",
                width=f"{slot - 2:.1f}", height=f"{tall:.1f}", class_=kind)
        )  # fmt: skip
        if index % 4 == 0:
            parts.append(
                text_of(LEFT + index * slot, HEIGHT - BOTTOM + 16, f"{edge:.1f}", "middle")
            )
    parts.append(text_of(WIDTH - RIGHT, HEIGHT - BOTTOM + 16, "1.0", "end"))
    parts.append(text_of((WIDTH + LEFT) / 2, HEIGHT - 8, "IoU of the best anchor", "middle"))
    parts.append(_upright("boxes"))
    return svg_of(parts, "IoU of each box's best anchor", HEIGHT)


def round_step(most: int) -> int:
    """The least of 1, 2, 5, 10, 20, 50 ... that goes less than six times into a number."""
    power: int = 10 ** (len(str(most)) - 1)
    steps = (power // 10, power // 5, power // 2, power, 2 * power)
    return next(step for step in steps if step * 6 > most)


def _log2(value: float) -> float:
    return math.log2(max(value, 0.5))


def _upright(text: str) -> Element:
    """What is written along the y axis."""
    middle = (HEIGHT - BOTTOM + TOP) / 2
    return tag("text", text, class_="axis", text_anchor="middle",
               transform=f"translate(12 {middle}) rotate(-90)")  # fmt: skip
