"""Detecting by a running server: what is sent, and what its refusals become."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from model.errors import InputError
from service.cli.finder import RemoteFinder
from service.errors import Problem, UnsupportedType
from service.options import DetectQuery

ANSWER = {"model": {}, "image": {}, "scale": 96, "detections": [], "timings_ms": {}}


def finder_of(
    handler: Callable[[httpx.Request], httpx.Response],
    url: str = "http://server:8000",
    **asked: float,
) -> RemoteFinder:
    return RemoteFinder(url, DetectQuery(**asked), httpx.MockTransport(handler))


def refusal(status: int, code: str, detail: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": detail}, headers=headers)


@pytest.mark.parametrize("url", ["http://server:8000", "http://server:8000/v1/detect/"])
def test_picture_goes_raw_with_what_was_asked_alone(url: str) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    assert finder_of(handler, url, score_threshold=0.3, scale=96)(b"bytes") == ANSWER
    (request,) = seen
    assert request.method == "POST"
    assert str(request.url) == "http://server:8000/v1/detect?score_threshold=0.3&scale=96"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert request.content == b"bytes"
    assert "X-API-Key" not in request.headers


def test_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINASERVE_API_KEY", "sesame")
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["X-API-Key"])
        return httpx.Response(200, json=ANSWER)

    finder_of(handler)(b"bytes")
    assert keys == ["sesame"]


def test_problem_of_a_picture_is_its_own() -> None:
    finder = finder_of(lambda _: refusal(422, "undecodable", "the PNG does not decode"))
    with pytest.raises(Problem, match="the PNG does not decode") as caught:
        finder(b"bytes")
    assert (caught.value.status, caught.value.code) == (422, "undecodable")


def test_empty_file_is_not_sent() -> None:
    finder = finder_of(lambda _: pytest.fail("sent"))
    with pytest.raises(UnsupportedType, match="the file is empty"):
        finder(b"")


def test_refused_parameter_ends_the_run() -> None:
    finder = finder_of(lambda _: refusal(400, "malformed", "scale is 7; accepted are 96"))
    with pytest.raises(InputError, match="http://server:8000 refused: scale is 7"):
        finder(b"bytes")


def test_busy_server_is_asked_again_after_its_retry_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("service.cli.finder.time.sleep", waits.append)
    busy = refusal(503, "queue_full", "64 images wait", **{"Retry-After": "3"})
    answers = iter([busy, busy, httpx.Response(200, json=ANSWER)])
    assert finder_of(lambda _: next(answers))(b"bytes") == ANSWER
    assert waits == [3.0, 3.0]


def test_server_that_stays_busy_is_the_pictures_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("service.cli.finder.time.sleep", waits.append)
    finder = finder_of(lambda _: refusal(503, "queue_full", "64 images wait"))
    with pytest.raises(Problem, match="64 images wait"):
        finder(b"bytes")
    assert waits == [1.0] * 4


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(404, json={"error": "gone"})]
)
def test_other_server_is_recognised(answer: httpx.Response) -> None:
    with pytest.raises(InputError, match="http://server:8000 is no retinaserve: it answered"):
        finder_of(lambda _: answer)(b"bytes")


def test_unreachable_server_is_named() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(InputError, match="http://server:8000 does not answer"):
        finder_of(handler)(b"bytes")


def test_url_without_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="give a server, for example http://"):
        RemoteFinder("localhost:8000", DetectQuery())
