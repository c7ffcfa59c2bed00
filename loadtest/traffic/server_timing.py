"""What a server says of its own time, in the header Server-Timing.

Source: https://www.w3.org/TR/server-timing/. Our servers tell each stage, and how many images
shared the engine's run: `queue;dur=0.2, inference;dur=41;desc="batch of 3"`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from multidict import MultiMapping

HEADER = "Server-Timing"
BATCH = re.compile(r'\binference\b[^,]*;\s*desc="batch of (\d+)"')
VALUE = r'\s*=\s*("(?:\\.|[^"\\])*"|[^;,"]*)'
METRIC = re.compile(rf"([^\s;,\"]+)((?:\s*;\s*[\w-]+(?:{VALUE})?)*)")
PARAMETER = re.compile(rf";\s*([\w-]+){VALUE}")


def stages_of(header: str) -> dict[str, float]:
    """Milliseconds by name; what is not of the form `decode;dur=3.1` is passed over."""
    stages = {}
    for metric in METRIC.finditer(header):
        for name, value in PARAMETER.findall(metric[2]):
            if name == "dur" and (milliseconds := _duration(value)) is not None:
                stages[metric[1]] = milliseconds
    return stages


def _duration(text: str) -> float | None:
    try:
        milliseconds = float(text.strip('"'))
    except ValueError:
        return None
    return milliseconds if 0.0 <= milliseconds < math.inf else None


def batch_of(header: str) -> int | None:
    """How many images shared the engine's run; None where the server does not tell."""
    match = BATCH.search(header)
    return int(match[1]) if match else None


def timing_of(headers: Mapping[str, str]) -> tuple[dict[str, float], int | None]:
    """Both, of an answer's headers; there may be several of this name."""
    if isinstance(headers, MultiMapping):
        header = ", ".join(headers.getall(HEADER, []))
    else:
        header = headers.get(HEADER, "")
    return stages_of(header), batch_of(header)
