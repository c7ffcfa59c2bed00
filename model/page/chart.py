"""Charts as inline SVG, in the colours of the page: the reader's scheme, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from model.page.axis import Axis
from model.page.markup import tag

WIDTH, HEIGHT = 520, 340
LEFT, BOTTOM, TOP, RIGHT = 60, 46, 38, 28


class Point(NamedTuple):
    """A point in the values of the axes."""

    x: float
    y: float


class Chart:
    """Axes with what is drawn between them, later things above earlier ones.

    `told`: what a reader who can't see it hears. `kind` is a CSS class: the colour.
    """

    def __init__(self, told: str, x: Axis, y: Axis, height: int = HEIGHT) -> None:
        self._told, self._x, self._y, self._height = told, x, y, height
        self._parts: list[Element] = []

    def line(self, points: Sequence[Point], kind: str) -> None:
        """A line through points."""
        if points:
            self._parts.append(tag("path", d="M" + self._path(points), class_=f"line {kind}"))

    def whisker(self, low: Point, high: Point, kind: str) -> None:
        """A broken line between two points, beside lines that say more."""
        (x1, y1), (x2, y2) = self._at(low), self._at(high)
        self._parts.append(line_of(x1, y1, x2, y2, f"mark {kind}"))

    def band(self, lower: Sequence[Point], upper: Sequence[Point], kind: str) -> None:
        """The area between two lines."""
        if lower:
            path = f"M{self._path([*lower, *reversed(upper)])}Z"
            self._parts.append(tag("path", d=path, class_=f"band {kind}"))

    def dots(self, points: Mapping[Point, str], kind: str) -> None:
        """A dot at each point, and what the pointer over it shows."""
        for point, told in points.items():
            x, y = self._at(point)
            inner = tag("title", told)
            self._parts.append(tag("circle", inner, cx=f"{x:.1f}", cy=f"{y:.1f}", r=4, class_=kind))

    def cloud(self, points: Iterable[Point], kind: str) -> None:
        """Thousands of small dots, as one path of lines without length: a fifth of the bytes."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in map(self._at, points))
        if path:
            self._parts.append(tag("path", d=path, class_=f"cloud {kind}"))

    def steep(self, x: float, text: str, kind: str) -> None:
        """A line from the bottom to the top at x, with a word beside it."""
        at, _ = self._at(Point(x, self._y.low))
        side = "start" if at < WIDTH / 2 else "end"
        self._parts += [
            line_of(at, TOP, at, self._height - BOTTOM, f"mark {kind}"),
            text_of(at + (5 if side == "start" else -5), TOP + 12, text, side),
        ]

    def level(self, y: float, text: str, kind: str) -> None:
        """A line from left to right at y, with a word above it."""
        _, at = self._at(Point(self._x.low, y))
        self._parts += [
            line_of(LEFT, at, WIDTH - RIGHT, at, f"mark {kind}"),
            text_of(LEFT + 5, at - 5, text, "start"),
        ]

    def word(self, point: Point, text: str) -> None:
        """A word above a point and left of it, where a line that rises is not."""
        x, y = self._at(point)
        self._parts.append(text_of(x - 5, y - 6, text, "end", "word"))

    def element(self) -> Element:
        """The whole chart."""
        bottom = self._height - BOTTOM
        grid = []
        for value, text in self._x.ticks.items():
            at, _ = self._at(Point(value, self._y.low))
            grid += [line_of(at, TOP, at, bottom), text_of(at, bottom + 18, text, "middle")]
        for value, text in self._y.ticks.items():
            _, at = self._at(Point(self._x.low, value))
            grid += [line_of(LEFT, at, WIDTH - RIGHT, at), text_of(LEFT - 7, at + 4, text, "end")]
        grid.append(text_of((LEFT + WIDTH - RIGHT) / 2, self._height - 6, self._x.label, "middle"))
        # Above the axis and not along it: nobody turns the head.
        grid.append(text_of(4, 16, self._y.label, "start"))
        return svg_of([*grid, *self._parts], self._told, self._height)

    def _at(self, point: Point) -> tuple[float, float]:
        room = self._height - BOTTOM - TOP
        return (
            LEFT + self._x.place(point.x) * (WIDTH - LEFT - RIGHT),
            self._height - BOTTOM - self._y.place(point.y) * room,
        )

    def _path(self, points: Sequence[Point]) -> str:
        return "L".join(f"{x:.1f} {y:.1f}" for x, y in map(self._at, points))


def svg_of(parts: Iterable[Element], told: str, height: int = HEIGHT) -> Element:
    """A drawing of its parts, which says to those who can't see it what it shows."""
    box = f"0 0 {WIDTH} {height}"
    return tag("svg", tag("title", told), *parts, viewBox=box, role="img", class_="chart")


def line_of(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> Element:
    """A line between two places in the drawing."""
    style = {"class_": kind} if kind else {}
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", **style)


def text_of(x: float, y: float, text: str, anchor: str, kind: str = "axis") -> Element:
    """Text at a place in the drawing; `anchor` is which end of it lies there."""
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)
