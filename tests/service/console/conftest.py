"""A server in a thread, and looks at it with the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from tests.service.console.visits import RunningServer, Visit, running_server

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
