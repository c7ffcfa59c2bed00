"""The console's files over HTTP."""

from __future__ import annotations

import re

import pytest

from service.console.routes import STATIC
from service.telemetry.metrics import route_of

pytestmark = pytest.mark.anyio

FILES = sorted(path.name for path in STATIC.iterdir())


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
        ("/console/example.jpg", "image/jpeg"),
    ],
)
async def test_a_file_has_its_content_type_and_the_security_headers(serving, path, content_type):
    async with serving() as client:
        answer = await client.get(path)
        head = await client.head(path)
    assert answer.status_code == head.status_code == 200
    assert answer.headers["content-type"] == content_type
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'self'"
    assert not any("unsafe" in part or "http" in part for part in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert head.content == b""
    assert head.headers["content-length"] == str(len(answer.content))


async def test_a_file_that_is_known_is_not_sent_again(serving):
    async with serving() as client:
        etag = (await client.get("/")).headers["etag"]
        again = await client.get("/", headers={"If-None-Match": etag})
        other = await client.get("/", headers={"If-None-Match": '"another"'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console", "/console/", "/console/nope.js", "/console/../routes.py",
        "/console/%2e%2e/routes.py", "/console/..%2froutes.py", "/console//etc/passwd",
        "/index.html",
    ],
)  # fmt: skip
async def test_what_is_no_file_of_the_console_is_a_404_problem(serving, path):
    async with serving() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_other_methods_are_a_405_problem_with_allow(serving):
    async with serving() as client:
        answers = [await client.post("/"), await client.put("/console/console.js")]
    assert [answer.status_code for answer in answers] == [405, 405]
    assert [set(answer.headers["allow"].split(", ")) for answer in answers] == [{"GET", "HEAD"}] * 2


async def test_all_files_share_one_label_in_the_metrics(serving):
    async with serving() as client:
        for path in ("/", "/docs", "/console/console.js", "/console/a", "/console/b/c"):
            await client.get(path)
        metrics = (await client.get("/metrics")).text
    for route, count in (("/", 1), ("/docs", 1), ("/console", 3)):
        assert f'retinaserve_requests_received_total{{route="{route}"}} {count}.0' in metrics
    assert route_of("/consoles") == "other"


async def test_the_console_is_there_before_the_engine_is(serving):
    async with serving(app_of=lambda app: app.state.runtime.begin_drain()) as client:
        assert (await client.get("/")).status_code == 200


async def test_the_api_document_leaves_the_console_out(serving):
    async with serving() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/v1/detect" in paths
    assert [path for path in paths if path in ("/", "/docs") or "console" in path] == []


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith((".html", ".css", ".js"))]
)
async def test_every_file_refers_to_nothing_outside(name):
    text = (STATIC / name).read_text(encoding="utf-8")
    # A namespace is a name; where the palette comes from stands in a comment.
    known = ("http://www.w3.org/2000/svg", "https://jfly.uni-koeln.de/color/")
    links = re.findall(r"https?://[^\s\"')`]+", text)
    assert [link for link in links if link not in known] == []
    assert not re.search(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=\"|innerHTML|eval\(", text
    )


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".html", ".js"))])
async def test_every_file_that_is_referred_to_exists(name):
    text = (STATIC / name).read_text(encoding="utf-8")
    named = re.findall(r"(?:\"/console/|from \"\./)([\w.-]+)\"", text)
    assert named or name.endswith(".js")
    assert [each for each in named if each not in FILES] == []
