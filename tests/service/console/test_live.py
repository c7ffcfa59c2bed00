"""The charts and the head of the page follow the server."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.service.console.visits import CELL, PICTURE
from tests.service.fakes import FakeSession

pytestmark = pytest.mark.slow


def test_the_charts_move(server, look):
    console = look(server.url)
    console.locator(".chart").first.locator("text=answered").wait_for()
    for _ in range(4):
        httpx.post(server.url + "/v1/detect", content=PICTURE)
    chart = console.locator(".chart", has_text="Requests").get_by_role("img")
    console.wait_for_function(
        "() => /[1-9]/.test(document.querySelector('.chart .figure').textContent)"
    )
    assert "answered a second" in chart.get_attribute("aria-label")
    before = console.locator(".chart path.curve").first.get_attribute("d")
    console.wait_for_function(
        "(before) => document.querySelector('.chart path.curve').getAttribute('d') !== before",
        arg=before,
    )


def test_a_hidden_tab_asks_for_no_metrics(server, look):
    console = look(server.url)
    console.clock.install()
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    scrapes = lambda: sum("/metrics" in line for line in console.requests)  # noqa: E731
    with console.expect_response("**/metrics"):
        console.reload()
    console.evaluate(hide, True)
    hidden_at = scrapes()
    for _ in range(5):
        console.clock.run_for(2_000)
        console.evaluate("() => fetch('/livez').then(() => null)")  # what was due has been sent
    assert scrapes() == hidden_at
    with console.expect_response("**/metrics"):
        console.evaluate(hide, False)


def test_another_model_is_noticed_and_asked(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    swapped = '"name":"cells","version":"9"'
    for path in ("**/metrics", "**/v1/models"):
        console.route(path, lambda route: route.fulfill(body=swap(route.fetch().text())))

    def swap(text: str) -> str:
        return text.replace('version="1"', 'version="9"').replace(
            '"name":"cells","version":"1"', swapped
        )

    with console.expect_request("**/v1/detect**"):
        console.locator("#model", has_text="cells 9").wait_for()
    console.answered()
    assert console.scores() == ["0.900"]


def test_what_is_no_longer_wanted_is_taken_back(serve, look):
    held = threading.Event()
    session = FakeSession()
    with serve(session) as server:
        session.on_run = lambda _: held.wait(30) and None
        try:
            console = look(server.url)
            with console.expect_request("**/v1/detect**"):
                console.set_input_files("#files", CELL)
            with console.expect_event("requestfailed") as failed:
                console.get_by_role("button", name="Clear").click()
            assert "/v1/detect" in failed.value.url
            assert failed.value.failure == "net::ERR_ABORTED"
        finally:
            held.set()
