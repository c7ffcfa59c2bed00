"""The page in headless Chromium: on any width, in both colour schemes, for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.report.page import write_page
from tests.loadtest.report.studies import EVERY_KIND
from tests.service.console.test_access import objections
from tests.service.console.visits import Visit

pytestmark = pytest.mark.slow


@pytest.fixture
def look(browser: Any, tmp_path: Path) -> Any:
    """`look(kind, **options of a browser context)`: the page of a study, loaded."""
    contexts = []

    def visit(kind: str, **options: Any) -> Visit:
        path = tmp_path / f"{kind}.html"
        write_page(path, EVERY_KIND[kind]())
        context = browser.new_context(**options)
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.page.on("console", lambda line: seen.errors.append(line.text))
        seen.page.on("request", lambda made: seen.requests.append(made.url))
        seen.page.goto(path.as_uri())
        for folded in seen.page.locator("summary").all():
            folded.click()
        return seen

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_axe_finds_nothing_to_object_to(look: Any, kind: str, scheme: str) -> None:
    for width in (390, 1200):
        page = look(kind, color_scheme=scheme, viewport={"width": width, "height": 844})
        assert objections(page) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_nothing_hangs_over_the_side_and_nothing_is_fetched(look: Any, kind: str) -> None:
    for width in (320, 390, 768, 1200):
        page = look(kind, viewport={"width": width, "height": 844})
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        assert page.errors == []
        assert len(page.requests) == 1


def test_words_of_charts_can_be_read_on_a_phone(look: Any) -> None:
    page = look("load", viewport={"width": 390, "height": 844})
    heights = page.evaluate(
        "() => [...document.querySelectorAll('.chart text')].map(text => {"
        " const box = text.ownerSVGElement;"
        " return parseFloat(getComputedStyle(text).fontSize)"
        " * box.getBoundingClientRect().width / box.viewBox.baseVal.width; })"
    )
    assert min(heights) >= 10.0


def test_words_of_charts_stay_inside_and_apart(look: Any) -> None:
    for width in (390, 1200):
        for kind in EVERY_KIND:
            page = look(kind, viewport={"width": width, "height": 844})
            assert page.evaluate(OUTSIDE) == []


OUTSIDE = """() => [...document.querySelectorAll('.chart')].flatMap(chart => {
    const edge = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll('text.axis')];
    const boxes = texts.map(text => text.getBoundingClientRect());
    const out = texts.filter((text, n) => boxes[n].left < edge.left - 1 ||
        boxes[n].right > edge.right + 1 || boxes[n].bottom > edge.bottom + 1);
    const over = texts.filter((text, n) => boxes.some((other, m) => m > n &&
        Math.min(other.right, boxes[n].right) - Math.max(other.left, boxes[n].left) > 1 &&
        Math.min(other.bottom, boxes[n].bottom) - Math.max(other.top, boxes[n].top) > 4));
    return [...out, ...over].map(text => text.textContent);
})"""
