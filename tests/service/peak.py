"""By how much this process grows while something is done, as the kernel counts it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLEAR = Path("/proc/self/clear_refs")

MEASURABLE = os.access(CLEAR, os.W_OK)
WHY_NOT = "this system does not let a process begin its peak of memory anew"


def growth(use: Callable[[], T]) -> tuple[T, int]:
    """What it gives, and by how many bytes the process grew at the most meanwhile."""
    ctypes.CDLL(None).malloc_trim(0)  # what is free would be taken again, and seem to cost nothing
    CLEAR.write_text("5")  # the peak begins anew
    before = _peak()
    value = use()
    return value, _peak() - before


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmHWM")
