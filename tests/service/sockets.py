"""A server on a real socket in the test's own event loop, and clients that do as told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.connections.connection_limits import ConnectionLimits
from service.server import bind, uvicorn_config
from service.settings import Settings
from tests.service.fakes import FakeSession, HeldEngine

PATIENCE_S = 30.0
"""What ends a test that hangs."""


class QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def sent(self) -> None:
        """Returns when the kernel has all that was to be sent."""
        while self.writer.transport.get_write_buffer_size():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def answer(self, method: str = "GET") -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        size = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        body = await self.reader.readexactly(size)
        return Answer(int(head[0].split()[1]), headers, body)

    async def rest(self) -> bytes:
        """What comes until the server closes, whether it does so well or not."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    def leave(self) -> None:
        self.writer.transport.abort()


@dataclass
class Listening:
    app: FastAPI
    server: uvicorn.Server
    address: tuple[str, int]
    clients: list[Client] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    async def connect(self, receive_buffer: int | None = None) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        client = Client(*await asyncio.open_connection(sock=sock))
        self.clients.append(client)
        return client

    async def have_connections(self, number: int) -> None:
        """Returns when the server has so many: uvicorn sets no event."""
        while self.connections != number:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def count(self, sample: str) -> float:
        for line in self.app.state.runtime.metrics.render().decode().splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no sample {sample}")

    def outcome(self, outcome: str, route: str = "/v1/detect") -> float:
        return self.count(f'retinaserve_requests_total{{outcome="{outcome}",route="{route}"}}')


@asynccontextmanager
async def listening(
    engine: HeldEngine | None = None,
    limits: ConnectionLimits | None = None,
    send_buffer: int | None = None,
    forwarded_allow_ips: str = "",
    **settings: Any,
) -> AsyncIterator[Listening]:
    """A warm server; `engine` holds what comes after the warm-up."""
    given = {"decode_threads": 1, "engine_threads": 1, "max_batch_size": 1} | settings
    if engine is not None:
        engine.hold = False
    app = create_app(Settings(**given), FakeSession(), engine=engine)
    async with asyncio.timeout(PATIENCE_S):
        with bind("127.0.0.1", 0) as listener:
            if send_buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            address = listener.getsockname()
            server = QuietServer(uvicorn_config(app, "on", 5.0, limits, forwarded_allow_ips))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await app.state.runtime.model.warmed.wait()
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            if engine is not None:
                engine.batches.clear()
                engine.hold = True
            listening = Listening(app, server, address)
            try:
                yield listening
            finally:
                for client in listening.clients:
                    client.leave()
                if engine is not None:
                    engine.release_all()
                server.should_exit = True
                await serving


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes, *headers: str, path: str = "/v1/detect") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body
