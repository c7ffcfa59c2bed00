"""What the console says when something is wrong."""

from __future__ import annotations

import json

import pytest

from service.errors import MEDIA_TYPE
from tests.service.console.visits import CELL, NOTES

pytestmark = pytest.mark.slow


def test_a_file_that_is_no_picture_shows_the_problem(server, look):
    console = look(server.url)
    console.set_input_files("#files", NOTES)
    problem = console.get_by_role("alert")
    problem.wait_for()
    assert problem.locator(".lead").inner_text() == "415 Unsupported Media Type"
    assert "send JPEG, PNG" in problem.inner_text()
    code, request_id = problem.locator("dd").all_inner_texts()
    assert code == "unsupported_type"
    assert len(request_id) == 32
    assert not console.locator("#rows").is_visible()
    # The browser logs every failed load; the server was asked once.
    assert [line for line in console.errors if "415" not in line] == []
    assert len(console.detects()) == 1
    console.errors.clear()


def test_an_overloaded_server_is_shown_with_its_retry_after_and_asked_again(server, look):
    console = look(server.url)
    problem = {
        "type": "about:blank", "title": "Service Unavailable", "status": 503,
        "detail": "64 images wait already, which is the limit", "instance": "/v1/detect",
        "code": "queue_full", "request_id": "r1",
    }  # fmt: skip
    console.route(
        "**/v1/detect**",
        lambda route: route.fulfill(
            status=503,
            content_type=MEDIA_TYPE,
            body=json.dumps(problem),
            headers={"Retry-After": "7"},
        ),
    )
    console.set_input_files("#files", CELL)
    alert = console.get_by_role("alert")
    alert.wait_for()
    assert "503 Service Unavailable" in alert.inner_text()
    assert "Come back in 7 s." in alert.inner_text()
    assert alert.locator("dd").all_inner_texts() == ["queue_full", "r1"]
    console.unroute("**/v1/detect**")
    alert.get_by_role("button", name="Try again").click()
    console.answered()
    console.locator("#rows tr").first.wait_for()
    assert console.scores() == ["0.900"]
    console.errors.clear()


def test_a_server_that_is_gone_is_said_so(serve, look):
    with serve() as server:
        console = look(server.url)
        console.locator("#state[data-state=ready]").wait_for()
    console.locator("#state[data-state=gone]").wait_for()
    console.set_input_files("#files", CELL)
    console.get_by_role("alert").wait_for()
    assert "No answer" in console.get_by_role("alert").inner_text()
    console.errors.clear()


def test_a_key_is_asked_for_and_kept_in_memory_only(serve, look):
    with serve(api_key="secret") as server:
        console = look(server.url)
        console.set_input_files("#files", CELL)
        key = console.get_by_label("API key")
        key.wait_for()
        key.fill("secret")
        key.press("Enter")
        console.locator("#rows tr").first.wait_for()
        assert console.scores() == ["0.900"]
        command = console.locator("#curl").inner_text()
        assert '-H "Authorization: Bearer $RETINASERVE_API_KEY"' in command
        assert "secret" not in console.content()
        assert console.evaluate("() => [localStorage.length, sessionStorage.length]") == [0, 0]
        assert console.context.cookies() == []
        console.errors.clear()
