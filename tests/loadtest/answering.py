"""Servers that do as told, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = "HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=0.5, inference;dur=40\r\n"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of a request that says how long it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return await reader.readexactly(int(value))
    return b""


def answering(text: str) -> Serve:
    """Sends this and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    return serve


def with_body(head: str, body: str) -> Serve:
    """Sends a body with its length, and says that it closes: else a client may ask once more."""
    return answering(
        f"{head}Connection: close\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        listening.close()
