"""What Linux says of another process: its memory and its CPU time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil


class Memory(NamedTuple):
    """MB of a process: resident, of that its own, and the most that was ever resident.

    What is not its own are pages of files, which other processes may share.
    """

    resident: float
    own: float
    peak: float


def memory_of(pid: int) -> Memory:
    """What a process holds now."""
    kib = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            kib[name] = int(rest.split()[0])
    return Memory(*(kib[name] * 1024 / 1e6 for name in ("VmRSS", "RssAnon", "VmHWM")))


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, in user mode and in the kernel."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
