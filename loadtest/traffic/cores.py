"""What part of the client's CPU a load takes."""

from __future__ import annotations

import time
from collections.abc import Callable


class Cores:
    """CPU time of this process, in seconds per second, from `begin` to the first `end`.

    It ends with the seconds that count: while the last answers are waited for, nothing is to do,
    and that would hide that there was too much before.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began: tuple[float, float] | None = None
        self._over = False
        self.value = 0.0
        """0 until the end, and without a beginning before it."""

    def begin(self) -> None:
        """The seconds that count begin."""
        self._began = self._now(), time.process_time()

    def end(self) -> None:
        """They are over, unless they were already."""
        if self._began and not self._over:
            since, cpu_s = self._began
            seconds = self._now() - since
            self.value = (time.process_time() - cpu_s) / seconds if seconds > 0 else 0.0
        self._over = True
