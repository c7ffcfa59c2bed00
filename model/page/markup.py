"""HTML and SVG elements; whatever is put into them is escaped when they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from model.files import whole_file


def tag(name: str, /, *children: str | Element, **attributes: object) -> Element:
    """An element with its children: text, or elements. `class_` is the attribute `class`."""
    element = Element(
        name, {key.strip("_").replace("_", "-"): str(value) for key, value in attributes.items()}
    )
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child
    return element


def prose(text: str) -> list[str | Element]:
    """Text whose parts `in backticks` become code."""
    return [tag("code", part) if index % 2 else part for index, part in enumerate(text.split("`"))]


def table(head: Iterable[str | Element], rows: Iterable[Iterable[str | Element]]) -> Element:
    """A table that scrolls sideways where it is too wide; cells that are text go into `td`."""

    def cell(kind: str, content: str | Element) -> Element:
        made = isinstance(content, Element) and content.tag in ("td", "th")
        return content if made else tag(kind, content)  # type: ignore[return-value]

    header = tag("thead", tag("tr", *(cell("th", content) for content in head)))
    body = tag("tbody", *(tag("tr", *(cell("td", content) for content in row)) for row in rows))
    return tag("div", tag("table", header, body), class_="scroll")


def number(value: float, digits: int = 0) -> Element:
    """A table cell with a number, right-aligned; a dash for NaN."""
    text = "-" if math.isnan(value) else f"{value:,.{digits}f}"
    return tag("td", text, class_="number")


def write_html(path: Path, page: Element) -> None:
    """Writes a whole page, whole or not at all.

    Names of files may hold bytes that are no UTF-8: these become question marks.
    """
    html = "<!doctype html>\n" + tostring(page, encoding="unicode", method="html")
    with whole_file(path) as part:
        part.write_bytes(html.encode("utf-8", "replace"))
