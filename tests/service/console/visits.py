"""A server in a thread, a page in a browser that looks at it, and what to give it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.server import bind, url_of
from service.settings import Settings
from tests.service.fakes import FakeSession, picture

PICTURE = picture()
CELL = {"name": "cell.png", "mimeType": "image/png", "buffer": PICTURE}
NOTES = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}


@dataclass
class RunningServer:
    url: str
    app: FastAPI
    session: FakeSession


@contextmanager
def running_server(
    session: FakeSession | None = None, await_ready: bool = True, **settings: Any
) -> Iterator[RunningServer]:
    session = session or FakeSession()
    ready = threading.Event()
    given = {"port": 0, "decode_threads": 1, "engine_threads": 1, "max_batch_size": 2} | settings
    app = create_app(Settings(**given), session, on_ready=ready.set)
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            if await_ready:
                assert ready.wait(60)
            yield RunningServer(url_of(listener), app, session)
        finally:
            server.should_exit = True
            thread.join(60)


@dataclass
class Visit:
    """A page, and what it did that the test did not ask for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    """Lines of the browser's console and exceptions."""
    requests: list[str] = field(default_factory=list)
    """METHOD URL of each request."""

    def detects(self) -> list[str]:
        return [line for line in self.requests if "/v1/detect" in line]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def scores(self) -> list[str]:
        """The scores of the table's rows that are shown."""
        cells = self.page.locator("#rows tr:not([hidden]) td:nth-child(3)")
        return cells.all_inner_texts()

    def answered(self, picture: int = 0) -> None:
        """Waits until the picture on this stage has its answer."""
        stage = self.page.locator(".stage").nth(picture)
        stage.locator("xpath=self::*[@aria-busy='false']").wait_for()

    def boxes(self) -> int:
        """How many boxes the first stage shows."""
        return int(self.page.locator(".stage").first.locator(".detection:not([hidden])").count())

    def slide(self, name: str, value: float) -> None:
        """Moves a slider, as a hand would: with an input event."""
        self.page.locator(f"#{name}").fill(str(value))
