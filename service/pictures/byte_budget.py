"""A number of bytes that several threads may hold together: first come, first served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass


@dataclass(eq=False)
class _Waiter:
    size: int
    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]
    has_bytes: bool = False
    """Whether the bytes are its own, which may be a moment before `granted` says so."""

    def wake(self) -> None:
        if not self.granted.done():
            self.granted.set_result(None)


class ByteBudget:
    """Bytes are taken and given back; whoever finds too few waits behind those who waited before.

    Taken and given back in any thread, waited for on an event loop.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._waiters: deque[_Waiter] = deque()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are taken."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def take_at_once(self, size: int) -> bool:
        """Takes bytes if they are there and nobody waits for any; says whether it did."""
        with self._lock:
            if self._waiters or self._held + size > self.total:
                return False
            self._held += size
            return True

    async def take(self, size: int) -> None:
        """Takes bytes as soon as they are there and all who came before have theirs.

        Whoever is cancelled while waiting has taken nothing. Raises ValueError for more bytes than
        there can ever be.
        """
        if size > self.total:
            raise ValueError(f"{size} bytes of a budget of {self.total}")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(size, loop, loop.create_future())
        with self._lock:
            self._waiters.append(waiter)
        self._serve()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            with self._lock:
                if waiter.has_bytes:
                    self._held -= size
                else:
                    self._waiters.remove(waiter)
            self._serve()
            raise

    def give_back(self, size: int) -> None:
        """Returns bytes that were taken; those who wait get them in turn."""
        with self._lock:
            assert size <= self._held
            self._held -= size
        self._serve()

    def _serve(self) -> None:
        """Hands bytes to those who wait, from the front, as far as they go."""
        with self._lock:
            while self._waiters and self._held + self._waiters[0].size <= self.total:
                waiter = self._waiters.popleft()
                self._held += waiter.size
                waiter.has_bytes = True
                waiter.loop.call_soon_threadsafe(waiter.wake)
