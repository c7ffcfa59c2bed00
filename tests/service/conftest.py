"""A server in this process, without sockets; a bundle whose detections are known."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.service.bundles import write_known_bundle
from tests.service.fakes import FakeSession


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def known_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_known_bundle`."""
    return write_known_bundle(tmp_path_factory.mktemp("known_bundle"))


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Puts back what `configure_logs` changes in this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("uvicorn", "PIL", "python_multipart")
    }
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, held in levels.items():
        logging.getLogger(name).setLevel(held)


Serving = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serving() -> Serving:
    """`async with serving(session, engine=..., **settings) as client`, warmed up."""

    @asynccontextmanager
    async def serve(
        session: FakeSession | None = None,
        engine: Any = None,
        app_of: Callable[[FastAPI], None] = lambda _: None,
        **settings: Any,
    ) -> AsyncIterator[httpx.AsyncClient]:
        given = {"decode_threads": 1, "engine_threads": 1, "max_batch_size": 2} | settings
        app = create_app(Settings(**given), session or FakeSession(), engine=engine)
        app_of(app)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        ):
            await app.state.runtime.model.warmed.wait()
            yield client

    return serve
