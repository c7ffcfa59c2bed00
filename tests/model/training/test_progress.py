"""What a person sees where there is no terminal."""

from __future__ import annotations

import pytest

from model.training import progress
from model.training.meter import Meter
from model.training.progress import Progress
from model.training.step import StepReport

REPORT = StepReport(0.5, 0.25, 7, 1e-3, 2.0)


def said_by(shown: bool) -> list[str]:
    """The lines about steps 1 and 2 of 100, of 2 s each, .5 s of them waiting, for 4 images."""
    times = iter([0.0, 0.5, 0.5, 2.0, 2.0, 2.5, 2.5, 4.0])
    meter = Meter(4, lambda: next(times))
    said: list[str] = []
    with Progress(0, 100, meter, said.append, shown) as seen:
        for step in (1, 2):
            with meter.waiting():
                pass
            with meter.working():
                pass
            seen.step(step, REPORT)
    return said


def test_line_says_losses_pace_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    assert said_by(shown=True) == [
        "step 1/100: classes 0.5000, boxes 0.2500, images/s 2, waiting 25%, 3 min left",
        "step 2/100: classes 0.5000, boxes 0.2500, images/s 2, waiting 25%, 3 min left",
    ]
    assert capsys.readouterr() == ("", "")


def test_lines_come_now_and_then() -> None:
    assert said_by(shown=True) == []


def test_only_one_of_several_processes_shows_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    assert said_by(shown=False) == []
