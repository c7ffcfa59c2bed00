from __future__ import annotations

import sys

import pytest

from loadtest.cli.overload import Overload, main, report
from loadtest.traffic.sample import Outcome, Sample


def sample(at: float, took: float, outcome: Outcome = Outcome.OK, why: str = "") -> Sample:
    return Sample(intended=at, sent=at + 0.001, ended=at + took, outcome=outcome, why=why)


def test_goodput_counts_answers_in_time_until_the_last_arrival() -> None:
    samples = [
        sample(5.0, 0.4),
        sample(6.0, 0.6),  # too late for its caller
        sample(7.0, 0.1),
        sample(14.9, 0.3),  # after the ten seconds: the server was idle by then
        sample(8.0, 0.5, Outcome.LATE, "504 deadline_passed"),
        sample(9.0, 0.1, Outcome.REFUSED, "503 too_late"),
    ]
    assert Overload(10.0, 0.5, samples).goodput == pytest.approx(0.2)


def test_accepted_are_timed_from_their_intended_start_and_refusals_from_sending() -> None:
    run = Overload(
        10.0,
        0.5,
        [
            sample(0.0, 0.2),
            sample(1.0, 0.5, Outcome.LATE, "504 deadline_passed"),
            sample(2.0, 0.003, Outcome.REFUSED, "503 too_late"),
        ],
    )
    assert run.accepted_ms == pytest.approx([200.0, 500.0])
    assert run.refused_ms == pytest.approx([2.0])
    assert dict(run.reasons) == {"504 deadline_passed": 1, "503 too_late": 1}


def test_report_holds_the_goodput_against_the_capacity(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [sample(n / 10, 0.05) for n in range(95)]
    samples.append(sample(9.6, 0.002, Outcome.REFUSED, "503 too_late"))
    report(Overload(10.0, 0.5, samples), capacity=10.0, rate=20.0)
    assert capsys.readouterr().out.splitlines() == [
        "offered    20.0 requests/s for 10 s, 500 ms each",
        "goodput    9.5 images/s, 95.0% of the capacity",
        "accepted   95: p50 50.0 ms, p99 50.0 ms",
        "refused    1: p50 1.0 ms, p99 1.0 ms",
        "reasons    1 x 503 too_late",
    ]


@pytest.mark.slow
def test_a_server_is_started_and_overloaded(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["overload", "--run-ms", "20", "--seconds", "2"])
    assert main() == 0
    assert "goodput" in capsys.readouterr().out


def test_a_server_that_is_not_there_is_a_sentence(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["overload", "--url", "http://127.0.0.1:9", "--seconds", "1"])
    monkeypatch.setattr("loadtest.cli.overload.WARM_UP_S", 0.05)
    assert main() == 2
    assert "connection refused" in capsys.readouterr().err
