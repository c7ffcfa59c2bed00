"""A server over HTTP with one worker and known service times; run as a process of its own.

python tests/loadtest/traffic/queue_server.py constant|exponential MEAN_S
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np

SEED = 11

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def service_times(kind: str, mean_s: float) -> Iterator[float]:
    """By request, in the order of arrival."""
    if kind == "constant":
        return repeat(mean_s)
    return iter(np.random.default_rng(SEED).exponential(mean_s, 100_000).tolist())


class Worker:
    """Finishes one request after the other, to a tenth of a millisecond: a thread's sleep is
    finer than an event loop's."""

    def __init__(self, times: Iterator[float]) -> None:
        self._times, self._free = times, 0.0
        self._done: queue.Queue[tuple[float, Callable[[], object]]] = queue.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, done: Callable[[], object]) -> None:
        self._free = max(self._free, time.perf_counter()) + next(self._times)
        self._done.put((self._free, done))

    def _run(self) -> None:
        while True:
            at, done = self._done.get()
            time.sleep(max(0.0, at - time.perf_counter()))
            self._loop.call_soon_threadsafe(done)


async def serve(kind: str, mean_s: float) -> None:
    worker = Worker(service_times(kind, mean_s))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
                worker.take(lambda: writer.write(ANSWER))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
