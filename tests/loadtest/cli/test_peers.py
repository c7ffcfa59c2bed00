from __future__ import annotations

import math
import re
import sys

import pytest

from loadtest.cli.peers import Figures, chosen_of, main
from model.errors import InputError


def test_a_peer_runs_in_the_python_that_is_named() -> None:
    assert chosen_of("fastapi") == ("fastapi", sys.executable)
    assert chosen_of(f"litserve={sys.executable}") == ("litserve", sys.executable)
    with pytest.raises(InputError, match="'torchserve' is no peer: accepted are fastapi, lit"):
        chosen_of("torchserve")
    with pytest.raises(InputError, match="litserve: there is no Python at /nowhere"):
        chosen_of("litserve=/nowhere")


def test_a_line_tells_rounds_by_their_spread_and_load_by_percentiles() -> None:
    found = Figures([1.0, 2.0, 3.0], [20.0], [float(n) for n in range(101)], 4)
    assert found.text() == (
        "idle 2.0 (1.2-2.8) ms added; 20.0 (20.0-20.0) images/s; "
        "under load p50 50, p90 90, p99 99 ms, 4 failed"
    )


def test_who_is_not_answered_has_waited_for_ever() -> None:
    found = Figures([1.0], [20.0], [50.0] * 98 + [math.inf] * 2, 2)
    assert found.text().endswith("p50 50, p90 50, p99 inf ms, 2 failed")


@pytest.mark.slow
def test_ours_and_a_peer_are_measured_in_turns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fastapi", "--rounds", "1", "--seconds", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"1 of 1: \d+\.\d images/s in process", lines[1])
    assert [line.split()[0] for line in lines[2:]] == ["retinaserve", "fastapi"]
    assert all(line.endswith("ms, 0 failed") for line in lines[2:])
