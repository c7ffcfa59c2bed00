"""One request over HTTP, and what became of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp

from loadtest.protocols.protocol import Answer, Call, DetectorProtocol, Malformed
from loadtest.traffic.sample import Outcome, Sample, outcome_of
from loadtest.traffic.server_timing import timing_of

MOST_SAID = 300
"""Characters that are kept of what a server says of a refusal."""


class Reply(NamedTuple):
    """A request's sample; its answer, if it is one; and of a refusal what the server said."""

    sample: Sample
    answer: Answer | None = None
    said: str = ""


class Client:
    """Sends calls over connections that are kept, as many as there are calls at a time.

    Without a protocol an answer is any with a status of 2xx.
    """

    def __init__(
        self, session: aiohttp.ClientSession, protocol: DetectorProtocol | None = None
    ) -> None:
        self._session = session
        self._protocol = protocol
        self.began = time.perf_counter()
        """The zero of the samples' times."""

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self.began

    async def send(self, call: Call, intended: float) -> Sample:
        """The sample of a call that was meant to start at `intended`; raises nothing."""
        return (await self.ask(call, intended)).sample

    async def ask(self, call: Call, intended: float) -> Reply:
        """`send`, with the answer. The time is taken before the answer is read."""
        sample = Sample(intended, self.now(), 0.0, Outcome.CONNECTION, server=call.server)
        try:
            async with self._session.post(
                call.url, data=call.body, headers=call.headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
        except TimeoutError:
            sample.outcome, sample.why = Outcome.LATE, "no answer in time"
        except (aiohttp.ClientError, OSError) as error:
            sample.why = _told(error)
        else:
            sample.ended = self.now()
            sample.status, sample.outcome = answer.status, outcome_of(answer.status)
            return self._read(call, sample, answer.headers, body)
        sample.ended = self.now()
        return Reply(sample)

    def _read(self, call: Call, sample: Sample, headers: Mapping[str, str], body: bytes) -> Reply:
        if sample.outcome is not Outcome.OK:
            code, said = _refusal(headers, body)
            sample.why = f"{sample.status} {code}".strip()
            return Reply(sample, said=said)
        try:
            if self._protocol:
                answer = self._protocol.read(call, headers, body)
            else:
                answer = Answer((), *timing_of(headers))
        except Malformed as error:
            sample.outcome, sample.why = Outcome.MALFORMED, str(error)
            return Reply(sample)
        sample.stages, sample.batch = dict(answer.stages_ms), answer.batch
        sample.detections = len(answer.detections)
        return Reply(sample, answer)


@asynccontextmanager
async def open_client(
    timeout_s: float, protocol: DetectorProtocol | None = None
) -> AsyncIterator[Client]:
    """A client; an answer that takes longer than `timeout_s` is not waited for."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        # Unpacking would be work of the client's within the run.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Client(session, protocol)
        # Its connections are closed in callbacks, which the loop has to get to.
        await asyncio.sleep(0)


def _refusal(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """The code and the sentence of a problem document, or the sentence of an error as the Open
    Inference Protocol has it; a redirect says where to.
    """
    if target := headers.get("Location"):
        return "", f"it is at {target}"
    try:
        document = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    code, said = document.get("code", ""), document.get("detail") or document.get("error") or ""
    return str(code), str(said)[:MOST_SAID]


def _told(error: aiohttp.ClientError | OSError) -> str:
    """The kind of failure, without what differs from one connection to the next."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match cause:
        case ConnectionRefusedError():
            return "connection refused"
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer"
        case ConnectionResetError() | BrokenPipeError():
            return "connection reset"
        case aiohttp.ClientPayloadError():
            return "answer cut short"
        case socket.gaierror():
            return "no such host"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
    return type(cause).__name__
