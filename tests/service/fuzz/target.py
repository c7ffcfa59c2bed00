"""A server to be thrown requests at, one at a time, and what it must never do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.service.fakes import FakeSession

HANG_S = 30.0
"""No request on a small body takes so long, not on the slowest machine; it is never waited for."""

MAX_DECODED_BYTES = 64 * 1024 * 1024
MAX_IMAGE_PIXELS = 4_000_000


class Target:
    """The application of a fake session, on an event loop of its own."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.app = app
        self._runner = runner

    def post(
        self, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (), query: bytes = b""
    ) -> int:
        """The status of POST /v1/detect; otherwise as `send`."""
        return self.send("POST", "/v1/detect", body, headers, query)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        query: bytes = b"",
    ) -> int:
        """The status of the answer; AssertionError for a 5xx that is not a refusal."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": query,
            "headers": list(headers), "scheme": "http", "server": ("server", 80),
            "client": ("client", 1), "root_path": "",
        }  # fmt: skip
        status, answer = self._runner.run(self._answer(scope, body))
        assert status < 500 or status in (503, 504), (status, answer, body[:200], headers, query)
        if status >= 400 and method != "HEAD":
            assert json.loads(answer)["status"] == status
        return status

    async def _answer(self, scope: dict[str, object], body: bytes) -> tuple[int, bytes]:
        inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        async with asyncio.timeout(HANG_S):
            await self.app(scope, inbox.get, send)
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], answer


@contextmanager
def target() -> Iterator[Target]:
    """A warm server; what it counted adds up when it is left."""
    settings = Settings(
        decode_threads=1, engine_threads=1, max_batch_size=1, max_images=4,
        max_decoded_bytes=MAX_DECODED_BYTES, max_image_pixels=MAX_IMAGE_PIXELS,
    )  # fmt: skip
    app = create_app(settings, FakeSession())
    with asyncio.Runner() as runner:
        life = app.router.lifespan_context(app)
        runner.run(_enter(life))
        runner.run(app.state.runtime.model.warmed.wait())
        try:
            yield Target(app, runner)
        finally:
            runner.run(_leave(life))
        assert app.state.runtime.decoding.budget.held == 0


async def _enter(life) -> None:
    await life.__aenter__()


async def _leave(life) -> None:
    await life.__aexit__(None, None, None)
