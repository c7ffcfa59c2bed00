from __future__ import annotations

import sys

import pytest

from loadtest.cli.leavers import DEPTH, main, report


def test_depth_is_the_gauge_of_the_queue() -> None:
    scrape = "# TYPE retinaserve_queue_depth gauge\nretinaserve_queue_depth 63.0\nother 1.0\n"
    found = DEPTH.search(scrape)
    assert found is not None
    assert float(found[1]) == 63.0


def test_report_gives_the_middle_and_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    report([10.0, 30.0, 20.0], 64)
    assert capsys.readouterr().out == (
        "extra wait after 64 clients left: median 20.0 ms, at most 30.0 ms of 3 rounds\n"
    )


@pytest.mark.slow
def test_clients_leave_a_server_that_is_started(monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        sys, "argv", ["leavers", "--run-ms", "20", "--rounds", "1", "--leavers", "20"]
    )
    assert main() == 0
    assert "extra wait after 20 clients left" in capsys.readouterr().out
