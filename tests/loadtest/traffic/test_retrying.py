from __future__ import annotations

import pytest

from loadtest.protocols.protocol import Call
from loadtest.traffic.retrying import Retrying
from loadtest.traffic.sample import Outcome, Sample

pytestmark = pytest.mark.anyio

CALL = Call("http://h/", b"picture", {})


class Scripted:
    """A client whose calls end as it was told, a second each."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.clock = 0.0

    def now(self) -> float:
        return self.clock

    async def send(self, call: Call, intended: float) -> Sample:
        sent = self.clock
        self.clock += 1.0
        return Sample(intended, sent, self.clock, self._outcomes.pop(0))


async def test_what_is_answered_is_sent_once():
    told: list[Sample] = []
    sample = await Retrying(Scripted(Outcome.OK), 3, 0.0, told.append).send(CALL, 0.0)
    assert (sample.outcome, sample.latency, told) == (Outcome.OK, 1.0, [])


async def test_what_fails_is_sent_again_and_charged_for_all_tries():
    told: list[Sample] = []
    client = Scripted(Outcome.SERVER_ERROR, Outcome.CONNECTION, Outcome.OK)
    sample = await Retrying(client, 3, 0.0, told.append).send(CALL, 0.0)
    assert (sample.outcome, sample.sent, sample.latency) == (Outcome.OK, 2.0, 3.0)
    assert [one.outcome for one in told] == [Outcome.SERVER_ERROR, Outcome.CONNECTION]


async def test_the_last_failure_is_the_sample():
    told: list[Sample] = []
    client = Scripted(Outcome.SERVER_ERROR, Outcome.REFUSED)
    sample = await Retrying(client, 2, 0.0, told.append).send(CALL, 0.0)
    assert sample.outcome is Outcome.REFUSED
    assert len(told) == 1
