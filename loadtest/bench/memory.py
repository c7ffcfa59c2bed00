"""The memory that a process has used."""

from __future__ import annotations

import re
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float | None:
    """The most memory (MB) that this process had resident at a time, where the system tells.

    The kernel's own figure for the program that runs: `getrusage` begins with what the parent had.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None
