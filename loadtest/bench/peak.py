"""What this machine can do, and what a process has used of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

SIDE = 1024
TRIES = 20
STATUS = Path("/proc/self/status")


def peak_gflops() -> float:
    """The most GFLOP/s of numpy's float32 matrix product on all cores: the best of several.

    A library's matrix product is as near to a processor's limit as code comes that anyone can run,
    and needs nothing that serving lacks.
    """
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    best_s = np.inf
    for _ in range(TRIES):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        best_s = min(best_s, time.perf_counter() - start)
    return float(2 * SIDE**3 / best_s / 1e9)


def peak_rss_mb() -> float | None:
    """The most memory (MB) that this process had resident at a time, where the system tells.

    The kernel's own figure for the program that runs: `getrusage` begins with what the parent had.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.M)
    except OSError:
        return None
    return int(found[1]) / 1000 if found else None
