"""A server in a thread and a headless Chromium to look at it; skips where there is no browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.service.console.visits import RunningServer, Visit, running_server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

Serve = Callable[..., AbstractContextManager[RunningServer]]


@pytest.fixture
def serve() -> Serve:
    """`with serve(session, **settings) as server`, on a free port."""
    return running_server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server that finds THREE in every picture."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Not for the whole session: while it lasts its event loop runs in this thread, and no test
    # with a loop of its own could.
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        pytest.skip(f"needs a browser on the path: {', '.join(BROWSERS)}")
    with sync_playwright() as engine:
        # A container has no user namespaces for the browser's own sandbox.
        running = engine.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield running
        running.close()


Look = Callable[..., Visit]


@pytest.fixture
def look(browser: Any) -> Iterator[Look]:
    """`look(url, **options of a browser context)`: the console, loaded.

    Afterwards no console error may have come and no request left the origin; a test that makes
    errors on purpose empties `errors`.
    """
    visits: list[tuple[str, Visit]] = []
    with ExitStack() as closing:

        def visit(url: str, path: str = "/", **options: Any) -> Visit:
            context = browser.new_context(**options)
            closing.callback(context.close)
            context.set_default_timeout(20_000)
            seen = Visit(context.new_page())
            visits.append((url, seen))
            seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
            seen.page.on("request", lambda made: seen.requests.append(f"{made.method} {made.url}"))
            seen.page.on(
                "console",
                lambda line: (
                    seen.errors.append(line.text) if line.type in ("error", "warning") else None
                ),
            )
            seen.page.goto(url + path)
            return seen

        yield visit
        for url, seen in visits:
            assert seen.errors == []
            inside = (url + "/", f"blob:{url}/")
            outside = [line for line in seen.requests if not line.split(" ")[1].startswith(inside)]
            assert outside == []
