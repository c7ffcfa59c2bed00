"""What a server says of its own time, in the header Server-Timing.

Source: https://www.w3.org/TR/server-timing/. Our servers tell each stage, and how many images
shared the engine's run: `queue;dur=0.2, inference;dur=41;desc="batch of 3"`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HEADER = "Server-Timing"
BATCH = re.compile(r'\binference\b[^,]*;\s*desc="batch of (\d+)"')


def stages_of(header: str) -> dict[str, float]:
    """Milliseconds by name; what is not of the form `decode;dur=3.1` is passed over."""
    stages = {}
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                try:
                    stages[name] = float(value)
                except ValueError:
                    continue
    return stages


def batch_of(header: str) -> int | None:
    """How many images shared the engine's run; None where the server does not tell."""
    match = BATCH.search(header)
    return int(match[1]) if match else None


def timing_of(headers: Mapping[str, str]) -> tuple[dict[str, float], int | None]:
    """Both, of an answer's headers."""
    header = headers.get(HEADER, "")
    return stages_of(header), batch_of(header)
