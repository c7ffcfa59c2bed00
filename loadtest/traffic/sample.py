"""What became of one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended, for its caller."""

    OK = "ok"
    REFUSED = "refused"
    """429 or 503: the server said not now."""
    LATE = "late"
    """504: the server gave up; or no answer within the caller's own timeout."""
    CLIENT_ERROR = "client_error"
    """Any other 4xx, and 3xx: the request went to the wrong place."""
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    """No connection, or one that broke before the whole answer was there."""
    MALFORMED = "malformed"
    """A whole answer, but not what the protocol says."""


def outcome_of(status: int) -> Outcome:
    """The outcome that a status stands for."""
    if status < 300:
        return Outcome.OK
    if status in (429, 503):
        return Outcome.REFUSED
    if status == 504:
        return Outcome.LATE
    return Outcome.CLIENT_ERROR if status < 500 else Outcome.SERVER_ERROR


@dataclass(slots=True)
class Sample:
    """One request; times in seconds from the start of the run.

    `intended`: when it was meant to start. `sent`: when it was. `ended`: when its whole answer was
    there, or it failed. `why`: of a request that was not ok, a few words to count by. `stages`: the
    server's own times in ms, by `Server-Timing`. `batch`: how many images shared the engine's run,
    where the server tells it. `server`: which of the study's servers it went to, from 0.
    """

    intended: float
    sent: float
    ended: float
    outcome: Outcome
    status: int = 0
    why: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    detections: int = 0
    batch: int | None = None
    server: int = 0

    @property
    def latency(self) -> float:
        """Seconds from the intended start: a caller who could not even send is waiting too."""
        return self.ended - self.intended

    @property
    def lag(self) -> float:
        """How much later than intended it was sent, in seconds: the load test's own fault."""
        return self.sent - self.intended
