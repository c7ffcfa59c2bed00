"""How long a request may take."""

from __future__ import annotations

import asyncio

import pytest

from service.exchange import Patience

pytestmark = pytest.mark.anyio


class Timeout:
    def __init__(self) -> None:
        self.whens: list[float] = []

    def reschedule(self, when: float) -> None:
        self.whens.append(when)


async def test_the_last_word_counts_and_the_time_since_arrival_is_part_of_it():
    timeout, loop = Timeout(), asyncio.get_running_loop()
    patience = Patience(timeout, clock=lambda: 101.0, began=100.0)
    assert patience.deadline is None
    before = loop.time()
    patience.allow(0.5)
    patience.allow(60.0)
    after = loop.time()
    assert patience.deadline == 160.0
    late, fine = timeout.whens
    assert before - 0.5 <= late <= after - 0.5
    assert before + 59.0 <= fine <= after + 59.0
