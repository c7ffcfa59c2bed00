from __future__ import annotations

from dataclasses import dataclass

import pytest

from loadtest.traffic import cores
from loadtest.traffic.cores import Cores


@dataclass
class Clocks:
    """What the two clocks show, in seconds."""

    now: float = 0.0
    cpu: float = 0.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    shown = Clocks()
    monkeypatch.setattr(cores.time, "process_time", lambda: shown.cpu)
    return shown


def test_cores_are_cpu_time_between_begin_and_the_first_end(clocks: Clocks) -> None:
    taken = Cores(lambda: clocks.now)
    clocks.now, clocks.cpu = 2.0, 1.0
    taken.begin()
    clocks.now, clocks.cpu = 12.0, 10.0
    taken.end()
    clocks.now = 72.0  # one answer was waited for
    taken.end()
    assert taken.value == pytest.approx(0.9)


def test_what_ends_before_it_begins_took_nothing(clocks: Clocks) -> None:
    taken = Cores(lambda: clocks.now)
    taken.end()
    taken.begin()
    clocks.now = clocks.cpu = 3.0
    taken.end()
    assert taken.value == 0.0
