from __future__ import annotations

import argparse

import pytest

from loadtest.cli.experiment import add_server, headers_of, run_experiment, server_of
from model.errors import InputError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--share", type=float)


def run(args: argparse.Namespace) -> int:
    if args.code is None:
        raise InputError("--code: accepted are numbers")
    return args.code


def test_an_experiment_ends_with_its_own_status():
    assert run_experiment("", configure, run, ["--code", "1"]) == 1


def test_bad_input_is_a_sentence_and_status_2(capsys):
    assert run_experiment("", configure, run, []) == 2
    assert capsys.readouterr().err == "--code: accepted are numbers\n"


@pytest.mark.parametrize(
    ("option", "accepted"),
    [("--code=0", "above"), ("--code=-1", "above"), ("--seed=-1", "from")],
)
def test_a_number_of_which_nothing_can_be_made_is_refused(option, accepted, capsys):
    assert run_experiment("", configure, run, [option]) == 2
    said = option.replace("=", " ")
    assert capsys.readouterr().err == f"{said}: accepted are numbers {accepted} 0\n"


def test_a_number_that_is_none_is_refused(capsys):
    assert run_experiment("", configure, run, ["--share", "nan"]) == 2
    assert capsys.readouterr().err == "--share nan: accepted are numbers above 0\n"


def test_zero_is_fine_where_it_means_something():
    assert run_experiment("", configure, run, ["--code", "1", "--seed", "0"]) == 1


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server(parser)
    return parser.parse_args(words)


def test_a_server_that_is_named_is_not_started():
    with server_of(asked("--url", "http://127.0.0.1:9/")) as url:
        assert url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "headers"), [([], {}), (["--run-ms", "25"], {"X-Retinaserve-Chaos": "delay=0.025"})]
)
def test_an_engine_that_shall_sleep_is_told_with_each_request(words, headers):
    assert headers_of(asked(*words)) == headers
