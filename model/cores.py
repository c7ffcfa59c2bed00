"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Cores that affinity and the container's CPU quota leave to this process; at least 1.

    `os.cpu_count` says what the machine has: an engine that starts a thread for each of 64 cores
    under a quota of 2 spends its time being throttled.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """The CPU quota in cores, from cgroup v2 or v1; None without one."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / file).read_text() for file in files).split()
            return float(quota) / float(period) if float(quota) > 0 else None
        except (OSError, ValueError):  # not this version of cgroups, or quota "max"
            continue
    return None
