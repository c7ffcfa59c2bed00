"""A bar that shows how far a command is, on stderr."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 10.0
"""How often it is written where nobody watches it move."""


def progress_bar(total: int, unit: str, done: int = 0) -> Any:
    """A `tqdm` to update, with so many done before."""
    watched = sys.stderr.isatty()
    interval_s = 0.1 if watched else LOG_INTERVAL_S
    return tqdm(total=total, unit=unit, initial=done, mininterval=interval_s)
