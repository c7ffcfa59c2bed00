"""Bounds on the connections of clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """For each listener; the times in seconds."""

    connections: int = 1000
    """Past it the longest idle one is closed; where none is idle, only health is answered."""
    header_timeout_s: float = 10.0
    """From connecting, or from the first byte after an answer, to the end of the head."""
    keep_alive_s: float = 75.0
    """From an answer to the first byte of the next request."""
    write_timeout_s: float = 20.0
    """Within it a client has to take some of its answer."""
