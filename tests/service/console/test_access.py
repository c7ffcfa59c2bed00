"""The console with the keyboard, in words, on any width, in both colour schemes."""

from __future__ import annotations

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.service.console.visits import CELL, NOTES, Visit

pytestmark = pytest.mark.slow


def test_everything_can_be_done_with_the_keyboard(server, look):
    console = look(server.url)
    console.locator("#state[data-state=ready]").wait_for()

    def tab_to(selector: str) -> None:
        for _ in range(40):
            console.keyboard.press("Tab")
            if console.evaluate(f"() => document.activeElement.matches('{selector}')"):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#example")
    console.keyboard.press("Enter")
    console.answered()
    console.evaluate("() => document.activeElement.blur()")
    tab_to(".frame")
    outline = console.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab_to("#threshold")
    for _ in range(30):
        console.keyboard.press("ArrowLeft")
    assert console.locator("#threshold-value").inner_text() == "0.20"
    for selector in ("#iou", "#scales input", "#others input", "#classes input", "#clear"):
        tab_to(selector)
    tab_to("#table-box")
    current = console.locator("#rows tr[aria-current]")
    for key, number in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("End", 3),
        ("ArrowUp", 2),
        ("Home", 1),
    ):
        console.keyboard.press(key)
        assert current.locator("td").first.inner_text() == str(number)
    console.locator("#said", has_text="RBC, score 0.90").wait_for()
    assert console.locator(".detection.marked").get_attribute("data-index") == "0"
    console.keyboard.press("Escape")
    assert current.count() == 0
    tab_to("#copy")


def objections(visit: Visit) -> list[str]:
    """The rules of axe-core that a page breaks, with where."""
    found = Axe().run(visit.page).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_to_object_to(server, look, scheme, width):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 844}}
    console = look(server.url, **options)
    console.locator("#state[data-state=ready]").wait_for()
    assert objections(console) == []
    console.set_input_files("#files", [CELL, {**CELL, "name": "second.png"}])
    console.answered()
    console.slide("threshold", 0.1)
    console.locator("#others").get_by_role("radio", name="64").check()
    console.answered(1)
    console.locator("#rows tr").first.click()
    assert objections(console) == []
    console.set_input_files("#files", NOTES)
    console.get_by_role("alert").first.wait_for()
    assert objections(console) == []
    console.errors.clear()
    docs = look(server.url, "/docs", **options)
    docs.locator(".operation").first.wait_for()
    assert objections(docs) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_hangs_over_the_side(server, look, width):
    console = look(server.url, viewport={"width": width, "height": 844})
    wide = "() => document.documentElement.scrollWidth"
    assert console.evaluate(wide) == width
    console.set_input_files("#files", {**CELL, "name": "a" * 120 + ".png"})
    console.answered()
    console.locator("#others").get_by_role("radio", name="64").check()
    console.answered(1)
    assert console.evaluate(wide) == width
    docs = look(server.url, "/docs", viewport={"width": width, "height": 844})
    docs.locator(".operation").first.wait_for()
    assert docs.evaluate(wide) == width


def test_both_colour_schemes_and_reduced_motion_are_honoured(server, look):
    ground = "() => getComputedStyle(document.body).backgroundColor"
    moving = "() => getComputedStyle(document.querySelector('.detection')).transitionDuration"
    seen = []
    for scheme, motion in (("light", "no-preference"), ("dark", "reduce")):
        console = look(server.url, color_scheme=scheme, reduced_motion=motion)
        console.set_input_files("#files", CELL)
        console.answered()
        seen.append((console.evaluate(ground), console.evaluate(moving)))
    assert seen == [("rgb(251, 251, 250)", "0.15s"), ("rgb(19, 20, 22)", "0s")]


def test_the_api_page_names_every_path_parameter_and_schema(server, look):
    console = look(server.url, "/docs")
    console.locator(".operation").first.wait_for()
    document = httpx.get(server.url + "/openapi.json").json()
    wanted = [
        f"{verb.upper()} {path}" for path, verbs in document["paths"].items() for verb in verbs
    ]
    assert console.locator("#contents a").all_inner_texts() == wanted
    detect = console.locator("[id='post/v1/detect']").inner_text()
    for parameter in document["paths"]["/v1/detect"]["post"]["parameters"]:
        assert parameter["name"] in detect
    schemas = console.locator(".schema h2").all_inner_texts()
    assert schemas == list(document["components"]["schemas"])
