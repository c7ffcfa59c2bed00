"""The mark that a request puts on its images with `serve --chaos`: what the engine does to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from service.errors import Malformed

HEADER = "X-Retinaserve-Chaos"

MAX_DELAY_S = 3600.0

Fault = Literal["fail", "delay", "oom", "sticky", "hang"]


@dataclass(frozen=True)
class Mark:
    """What shall happen to a batch that holds the image; `seconds` is of a delay.

    * fail: every batch with the image fails, also the image alone.
    * delay: the batch takes so much longer.
    * oom: every batch of several with the image is out of memory; the image alone runs.
    * sticky: the device is lost, for this batch and all later ones.
    * hang: the run never comes back.
    """

    fault: Fault
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Mark:
        """The mark of the header's value; Malformed lists what is accepted."""
        delay = re.fullmatch(r"delay=(\d{1,4}(?:\.\d{1,6})?)", text, re.ASCII)
        if delay and float(delay[1]) <= MAX_DELAY_S:
            return cls("delay", float(delay[1]))
        for fault in get_args(Fault):
            if text == fault != "delay":
                return cls(fault)
        raise Malformed(
            f"{HEADER} is {text[:64]!r}; accepted are fail, oom, sticky, hang and delay=SECONDS "
            f"with 0 to {MAX_DELAY_S:g} seconds"
        )
