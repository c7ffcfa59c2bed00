"""What each request that brings images goes through, in whatever form it brings them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.responses import Response

from export.manifest import Manifest
from service.connections.bodies import Upload, read_body, unless_client_leaves
from service.context import context_of
from service.detections import Options
from service.detector import check_room
from service.errors import DeadlinePassed
from service.runtime import Runtime
from service.served import ServedModel
from service.telemetry.stages import Clock


class Patience:
    """How long a request may take: `deadline` on the runtime's clock, None for ever."""

    def __init__(self, timeout: asyncio.Timeout, clock: Clock, began: float) -> None:
        self.deadline: float | None = None
        self._timeout = timeout
        self._clock = clock
        self._began = began

    def allow(self, seconds: float) -> None:
        """So many seconds since the request came, whatever was said before."""
        self.deadline = self._began + seconds
        left = self.deadline - self._clock()
        self._timeout.reschedule(asyncio.get_running_loop().time() + left)


Answering = Callable[[ServedModel, bytes, Patience], Coroutine[Any, Any, Response]]
"""Answers a body that has been read, with the model that it shall use."""


async def exchange(
    request: Request,
    runtime: Runtime,
    timeout_ms: int | None,
    options_of: Callable[[Manifest], Options],
    answering: Answering,
) -> Response:
    """The answer to a request that brings images; raises a Problem, or ClientLeft.

    Its key has been checked: who has none shall learn nothing of what else is wrong. What can be
    refused without its body is refused before it is read; `options_of` then says what the images
    will be asked for, as far as it is known. The work ends when the client leaves.
    """
    context = context_of(request.scope)
    runtime.model.check_serving()
    timeout_ms = timeout_ms or runtime.settings.default_timeout_ms
    async with _patience(runtime.clock, context.stages.started_at) as patience:
        if timeout_ms is not None:
            patience.allow(timeout_ms / 1e3)
        check_room(runtime.model, options_of(runtime.model.manifest), patience.deadline)
        runtime.callers.take(request)
        with Upload(runtime.uploads) as upload:
            body = await _body(request, runtime, upload)
            with runtime.lease() as model:  # taken now: another than before the upload, maybe
                try:
                    async with unless_client_leaves(request.receive):
                        return await answering(model, body, patience)
                finally:
                    runtime.callers.charge(request, context.notes.get("images", 1) - 1)


@asynccontextmanager
async def _patience(clock: Clock, began: float) -> AsyncIterator[Patience]:
    """Raises DeadlinePassed when it ends; what is under way is cancelled."""
    try:
        async with asyncio.timeout(None) as timeout:
            yield Patience(timeout, clock, began)
    except TimeoutError:
        raise DeadlinePassed from None


async def _body(request: Request, runtime: Runtime, upload: Upload) -> bytes:
    declared = request.headers.get("content-length", "")
    return await read_body(
        request.receive,
        # Python refuses to read numbers of thousands of digits, whose first ones are too many.
        int(declared[:18]) if declared.isdecimal() else None,
        runtime.settings.max_body_bytes,
        runtime.settings.body_timeout_s,
        upload.grow,
    )
