"""Calls a function in the event loop at given times, to a tenth of a millisecond."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable


class Pacer:
    """Calls `start(number, time)` in the running event loop at each of `times`.

    The times are on `now`'s clock, ascending. A loop's own timers wake at whole milliseconds, as
    long as a fast server takes to answer; a thread's sleep does not. A time that has passed is
    called at once: no call is left out, unless `stopped` is set, which ends it.
    """

    def __init__(
        self,
        times: Iterable[float],
        now: Callable[[], float],
        start: Callable[[int, float], object],
        stopped: threading.Event | None = None,
    ) -> None:
        self._times, self._now, self._start = times, now, start
        self._loop = asyncio.get_running_loop()
        self._stopped = stopped or threading.Event()
        self._done = asyncio.Event()
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Returns when all have been called, or it was stopped; raises what making the times
        raised.
        """
        thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        thread.start()
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            self._stopped.set()
            raise
        finally:
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for number, time in enumerate(self._times):
                if self._stopped.wait(max(0.0, time - self._now())):
                    break
                self._loop.call_soon_threadsafe(self._start, number, time)
        except BaseException as error:
            self._error = error
        # After every start: callbacks run in the order in which they were asked for.
        self._loop.call_soon_threadsafe(self._done.set)
