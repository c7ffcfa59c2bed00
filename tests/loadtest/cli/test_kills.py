from __future__ import annotations

import re

import pytest

from loadtest.cli.kills import Kill, main, unexplained
from loadtest.traffic.sample import Outcome, Sample


def failed(sent: float, ended: float) -> Sample:
    return Sample(sent, sent, ended, Outcome.SERVER_ERROR, 502)


def test_a_failure_is_explained_by_a_kill_while_it_was_under_way():
    kills = [Kill(10.0, 10.1, 1), Kill(20.0, 20.1, 1)]
    explained = [failed(9.0, 10.05), failed(10.05, 10.06), failed(10.1, 11.0), failed(19.0, 21.0)]
    strange = [failed(9.0, 9.9), failed(10.2, 11.0), failed(20.2, 20.3)]
    assert unexplained([*explained, *strange], kills) == strange


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_a_kill_fails_what_its_server_had_alone_and_the_next_try_is_answered(capsys):
    assert main(["--kills", "5"]) == 0
    said = capsys.readouterr().out
    found = re.search(r" (\d+) failed .*, 0 of them by other servers, 0 at other times", said)
    assert found is not None
    assert int(found[1]) >= 1  # what had no request when it was killed would prove nothing
    assert f"{found[1]} sent again, 0 in vain" in said
