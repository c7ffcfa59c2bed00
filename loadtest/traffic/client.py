"""One request over HTTP, and what became of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from loadtest.traffic.sample import Outcome, Sample, outcome_of

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Call:
    """What to send: `url` with its query, and the body with its headers."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Client:
    """Sends calls over connections that are kept, as many as there are calls at a time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.began = time.perf_counter()
        """The zero of the samples' times."""

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self.began

    async def send(self, call: Call, intended: float) -> Sample:
        """The sample of a call that was meant to start at `intended`; raises nothing."""
        sent = self.now()
        status, why, stages = 0, "", {}
        try:
            async with self._session.post(call.url, data=call.body, headers=call.headers) as answer:
                body = await answer.read()
            status = answer.status
            outcome = outcome_of(status)
            if outcome is Outcome.OK:
                stages = stages_of(answer.headers.get("Server-Timing", ""))
            else:
                why = _reason(answer.status, answer.content_type, body)
        except TimeoutError:
            outcome, why = Outcome.LATE, "no answer in time"
        except aiohttp.ClientError as error:
            outcome, why = Outcome.CONNECTION, _told(error)
        return Sample(intended, sent, self.now(), outcome, status, why, stages)


@asynccontextmanager
async def open_client(timeout_s: float) -> AsyncIterator[Client]:
    """A client; an answer that takes longer than `timeout_s` is not waited for."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False, trust_env=False
    ) as session:
        yield Client(session)
        # Its connections are closed in callbacks, which the loop has to get to.
        await asyncio.sleep(0)


def stages_of(header: str) -> dict[str, float]:
    """Milliseconds by name from a Server-Timing header: `decode;dur=3.1, queue;dur=0.2`."""
    stages = {}
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                try:
                    stages[name] = float(value)
                except ValueError:
                    continue
    return stages


def _reason(status: int, content_type: str, body: bytes) -> str:
    """The problem's code where the answer is one, for example `503 queue_full`."""
    if content_type == PROBLEM:
        try:
            return f"{status} {json.loads(body)['code']}"
        except (ValueError, KeyError, TypeError):
            pass
    return str(status)


def _told(error: aiohttp.ClientError) -> str:
    """The kind of failure, without what differs from one connection to the next."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionResetError | aiohttp.ServerDisconnectedError):
        return "connection closed by the server"
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "answer cut short"
    return type(cause).__name__
