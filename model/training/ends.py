"""How a run may end before its last step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from model.distributed import gather, world_size


class TrainingStopped(RuntimeError):
    """The loss or its gradient became NaN or infinite; the last good checkpoint is kept."""


class Interrupted(Exception):
    """A signal asked the run to end; it did so after a whole step and can be resumed."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(number, step)
        self.number, self.step = number, step

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name} after step {self.step}"


class Signals:
    """Whether SIGINT or SIGTERM came to this process."""

    def __init__(self) -> None:
        self.number = 0

    def anywhere(self) -> int:
        """The signal that came to any of the processes, else 0; every one of them must ask."""
        return max(gather(self.number))


@contextmanager
def noted_signals() -> Iterator[Signals]:
    """SIGINT and SIGTERM are noted, for the run to end at a good moment.

    A process that trains alone obeys the second one at once. Of several, torchrun sends each a
    signal of its own after the terminal did. Outside the main thread nothing changes.
    """
    noted = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.number = number
        if world_size() == 1:
            signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
