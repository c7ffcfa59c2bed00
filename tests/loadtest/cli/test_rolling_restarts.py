from __future__ import annotations

import pytest

from loadtest.balancer import find_haproxy
from loadtest.cli.rolling_restarts import main
from model.errors import InputError

NULL = ["--module", "loadtest.speed.null_server", "--rate", "20"]


@pytest.fixture
def haproxy():
    try:
        find_haproxy()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_twenty_rolling_restarts_under_load_fail_no_request(capsys):
    assert main([*NULL, "--restarts", "20"]) == 0
    assert "20 restarts, exit statuses [0];" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_restarts_that_the_balancer_is_not_told_of_are_seen_to_fail_requests(capsys):
    assert main([*NULL, "--restarts", "4", "--drain-delay-s", "0"]) == 1
    assert " 0 failed" not in capsys.readouterr().out


def test_without_a_balancer_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert main(NULL) == 2
    assert capsys.readouterr().err == "haproxy is not installed: apt-get install haproxy\n"
