"""Where the time of a request goes: the stages, one after the other and without gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Stage = Literal["read", "decode", "queue", "inference", "postprocess", "encode"]
Clock = Callable[[], float]
"""Seconds on a monotonic clock."""

REPORTED: tuple[Stage, ...] = ("decode", "queue", "inference", "postprocess")
"""The stages that an answer reports: they are over when it is written."""


class StageClock:
    """Seconds per stage of one request: at any time exactly one stage runs.

    Waiting for a decode thread counts as decode, waiting for the engine as queue.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.started_at = self._since = clock()
        self._stage: Stage = "read"
        self.seconds: dict[Stage, float] = {}
        self.batch_size: int | None = None
        """How many images shared the engine's run, once there was one."""

    def enter(self, stage: Stage, at: float | None = None) -> None:
        """Ends the stage under way and begins `stage`, now or at a moment just past."""
        now = self._clock() if at is None else at
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def stop(self) -> float:
        """Ends the last stage; the seconds since the start, which the stages add up to."""
        self.enter(self._stage)
        return self._since - self.started_at

    def fork(self) -> StageClock:
        """A clock of the same past, for one of several images that go separate ways."""
        twin = StageClock(self._clock)
        twin.adopt(self)
        return twin

    def adopt(self, other: StageClock) -> None:
        """Takes over the history of a fork: that of the image finished last, as a rule."""
        self.started_at, self._since = other.started_at, other._since
        self._stage, self.seconds = other._stage, dict(other.seconds)
        self.batch_size = other.batch_size

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of the stages that an answer reports."""
        return {stage: round(self.seconds.get(stage, 0.0) * 1e3, 3) for stage in REPORTED}
