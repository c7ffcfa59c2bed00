"""Elements: what becomes text, what becomes code, what numbers look like."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import pytest

from model.page.markup import number, prose, table, tag, write_html


def html(element: Element) -> str:
    return tostring(element, encoding="unicode", method="html")


def test_text_and_attributes_are_escaped() -> None:
    made = tag("p", "a < b & ", tag("b", "<i>"), ' "c"', class_='x"y', stroke_width=2)
    assert html(made) == (
        '<p class="x&quot;y" stroke-width="2">a &lt; b &amp; <b>&lt;i&gt;</b> "c"</p>'
    )


def test_backticks_become_code() -> None:
    assert html(tag("p", *prose("set `a = 1` or <b>"))) == (
        "<p>set <code>a = 1</code> or &lt;b&gt;</p>"
    )


def test_table_takes_text_elements_and_cells() -> None:
    made = table(["a", tag("th", "b", id="b")], [["1", tag("code", "2")], [number(3), "4"]])
    assert html(made) == (
        '<div class="scroll"><table><thead><tr><th>a</th><th id="b">b</th></tr></thead><tbody>'
        "<tr><td>1</td><td><code>2</code></td></tr>"
        '<tr><td class="number">3</td><td>4</td></tr></tbody></table></div>'
    )


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1234567, 0, "1,234,567"), (0.5, 3, "0.500"), (float("nan"), 3, "-")],
)
def test_numbers_are_written_for_people(value: float, digits: int, shown: str) -> None:
    assert number(value, digits).text == shown


def test_page_is_utf8_whatever_a_name_holds(tmp_path: Path) -> None:
    write_html(tmp_path / "new" / "page.html", tag("html", tag("p", "é \ud800")))
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == (
        "<!doctype html>\n<html><p>é ?</p></html>"
    )
