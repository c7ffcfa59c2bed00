"""When requests are meant to start: open loops, which don't wait for answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

import numpy as np

Process = Literal["poisson", "constant"]

BLOCK = 1024
"""Gaps drawn at a time."""


def arrivals(rate: float, seconds: float, process: Process, seed: int = 0) -> Iterator[float]:
    """Start times in seconds from 0, ascending, below `seconds`, `rate` of them a second.

    poisson: independent callers, gaps of exponential length. constant: even gaps.
    """
    times = _poisson(rate, seed) if process == "poisson" else (n / rate for n in count())
    for time in times:
        if time >= seconds:
            return
        yield time


def _poisson(rate: float, seed: int) -> Iterator[float]:
    random = np.random.default_rng(seed)
    now = 0.0
    while True:
        for gap in random.exponential(1.0 / rate, BLOCK).tolist():
            now += gap
            yield now
