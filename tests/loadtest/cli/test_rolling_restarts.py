from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.cli.rolling_restarts import main, swap
from loadtest.ports import free_ports
from model.errors import InputError
from tests.service.bundles import as_version, with_record, write_known_bundle

NULL = ["--module", "loadtest.speed.null_server", "--rate", "20"]


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_twenty_rolling_restarts_under_load_fail_no_request(capsys):
    assert main([*NULL, "--restarts", "20"]) == 0
    assert "2 servers, 20 restarts, exit statuses [0];" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_three_servers_are_restarted_and_given_another_bundle_without_a_lost_request(
    capsys, tmp_path
):
    known = with_record(write_known_bundle(tmp_path / "known"))
    newer = as_version(known, tmp_path / "newer", "4")
    bundles = ["--bundle", str(known.folder), "--swap", str(newer)]
    assert main(["--replicas", "3", "--restarts", "6", "--rate", "20", *bundles]) == 0
    said = capsys.readouterr().out
    assert "3 servers, 6 restarts, exit statuses [0]; 3 swaps, answered [200];" in said


@pytest.mark.slow
@pytest.mark.usefixtures("haproxy")
def test_restarts_that_the_balancer_is_not_told_of_are_seen_to_fail_requests(capsys):
    assert main([*NULL, "--restarts", "4", "--drain-delay-s", "0"]) == 1
    assert " 0 failed" not in capsys.readouterr().out


def test_without_a_balancer_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert main(NULL) == 2
    assert capsys.readouterr().err == "haproxy is not installed: apt-get install haproxy\n"


def test_a_swap_of_what_has_no_admin_port_is_refused_before_anything_starts(capsys):
    assert main([*NULL, "--swap", "bundles/b"]) == 2
    assert capsys.readouterr().err == (
        "--swap does not go with --module loadtest.speed.null_server; accepted is "
        "retinaserve serve, which has an admin port\n"
    )


def test_a_swap_that_nobody_answers_is_a_sentence():
    (port,) = free_ports(1)
    sentence = rf"--swap b: no answer from http://127.0.0.1:{port}/admin/reload \(.+\)"
    with pytest.raises(InputError, match=sentence):
        swap([port], Path("b"))
