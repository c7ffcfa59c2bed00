"""How many images each caller may have let in: a token bucket a caller."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict

from service.errors import QuotaExceeded
from service.telemetry.stages import Clock

MAX_CALLERS = 10_000
"""Callers that are remembered, about 3 MB. One forgotten, the longest unseen, starts afresh."""


class Quota:
    """`images_per_s` for each caller in the long run, and `burst` at once.

    A bucket is kept as the time at which it will be full again (GCRA, ITU-T I.371): one number a
    caller and no timers.
    """

    def __init__(
        self,
        images_per_s: float,
        burst: int,
        clock: Clock = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self._images_per_s = images_per_s
        self._burst = burst
        self._clock = clock
        self._max_callers = max_callers
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str) -> None:
        """Lets one image in, or raises QuotaExceeded with the time until there is room for it."""
        now = self._clock()
        full_at = max(now, self._full_at.get(caller, now))
        # The bucket lacks (full_at - now) x rate images of `burst`, and has to hold one.
        wait_s = full_at - now - (self._burst - 1) / self._images_per_s
        if wait_s > 1e-9:  # rounding must not refuse who comes at the very moment
            raise QuotaExceeded(self._images_per_s, math.ceil(wait_s))
        self._owe(caller, full_at, 1)

    def charge(self, caller: str, images: int) -> None:
        """Counts images that turned out to come with one let in: the next has to wait for them."""
        if images > 0:
            now = self._clock()
            self._owe(caller, max(now, self._full_at.get(caller, now)), images)

    def _owe(self, caller: str, full_at: float, images: int) -> None:
        self._full_at[caller] = full_at + images / self._images_per_s
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self._max_callers:
            self._full_at.popitem(last=False)


def address_key(host: str) -> str:
    """What callers at an address are told apart by: of IPv6 the network, which is one customer's.

    Who has one IPv6 address has 2**64 of them (RFC 6177).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
