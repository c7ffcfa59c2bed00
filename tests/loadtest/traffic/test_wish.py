from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from loadtest.traffic.precise import Precise
from loadtest.traffic.trial import Load
from loadtest.traffic.wish import Wish, add_arguments, wish_of
from model.errors import InputError


def wish(*arguments: str) -> Wish:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--out", type=Path)
    return wish_of(parser.parse_args(arguments))


def test_load_without_a_word_is_left_to_the_server() -> None:
    assert wish() == Wish("load", Load(seconds=20.0), callers=8)


def test_load_is_open_or_closed() -> None:
    assert wish("--rate", "5", "--seconds", "9").load == Load(rate=5.0, seconds=9.0)
    assert wish("--callers", "3").load == Load(callers=3, seconds=20.0)


def test_sweeps_are_lists() -> None:
    assert wish("--sweep-scale", "320, 480,320").scales == (320, 480)
    assert wish("--sweep-rate", "2,4.5").rates == (2.0, 4.5)
    assert wish("--sweep-rate", "auto").rates is None
    assert wish("--sweep-rate", "auto", "--callers", "3", "--process", "constant").load == Load(
        process="constant", seconds=20.0
    )
    # In a sweep callers keep the server busy; they are no load of their own.
    assert wish("--sweep-scale", "320", "--callers", "4").load.callers is None


def test_precision_sets_how_long_a_run_may_be() -> None:
    found = wish("--rate", "5", "--precision", "p99=5")
    assert (found.precise, found.load.seconds) == (Precise(99.0, 0.05), 300.0)
    assert wish("--precision", "p99.9=2.5%", "--seconds", "60").load.seconds == 60.0


def test_mlperf_server_has_its_own_target() -> None:
    assert wish("--mlperf", "server", "--qps", "10").p99_ms == 100.0
    assert wish("--mlperf", "server", "--qps", "10", "--p99-ms", "250").p99_ms == 250.0
    assert wish("--mlperf", "offline").p99_ms is None
    assert wish("--mlperf", "offline").out == Path("mlperf-offline")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--rate 0", "--rate 0: accepted are numbers above 0"),
        ("--rate nan", "--rate nan: accepted are numbers above 0"),
        ("--seconds -1", "--seconds -1: accepted are numbers above 0"),
        ("--p99-ms inf", "--p99-ms inf: accepted are numbers above 0"),
        ("--warm-up -1", "--warm-up -1: accepted are numbers from 0"),
        ("--callers 0", "--callers 0: accepted are whole numbers from 1"),
        ("--seed -1", "--seed -1: accepted are whole numbers from 0"),
        ("--find-max-qps", "--find-max-qps needs --p99-ms MS: the target that it has to meet"),
        (
            "--find-max-qps --p99-ms 9 --rate 5",
            "--rate does not go with --find-max-qps, which sets the load itself",
        ),
        ("--sweep-scale 320,x", "--sweep-scale '320,x': write whole numbers, comma separated"),
        (
            "--sweep-rate 1,0",
            "--sweep-rate '1,0': write numbers above 0, comma separated, or auto",
        ),
        ("--sweep-scale 320 --scale 480", "--scale does not go with --sweep-scale"),
        (
            "--sweep-rate auto --precision p99=5",
            "--precision does not go with --sweep-rate; give --seconds",
        ),
        (
            "--precision 99",
            "--precision '99': write a percentile and by how many percent it may be off, as in "
            "p99=5",
        ),
        ("--precision p99=0", "--precision 'p99=0': write a percentile and by how many percent"),
        (
            "--precision p75=5",
            "--precision 'p75=5': accepted are the percentiles that are reported, p50, p90, p95, "
            "p99, p99.9",
        ),
        (
            "--mlperf server",
            "--mlperf server needs --qps R; --find-max-qps finds how much it can be",
        ),
        (
            "--mlperf singlestream --qps 5",
            "--qps does not go with --mlperf singlestream: one request at a time",
        ),
        (
            "--callers 2 --process constant",
            "--process does not go with --callers: it is for arrivals at a rate",
        ),
        (
            "--sweep-scale 320 --process poisson",
            "--process does not go with --sweep-scale: it is for arrivals at a rate",
        ),
        ("--mlperf offline --p99-ms 9", "--p99-ms does not go with --mlperf offline"),
        ("--out logs", "--out goes with --mlperf; a report goes to --json or --html"),
    ],
)
def test_what_can_not_be_wished_is_one_sentence(arguments: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        wish(*arguments.split())
    assert str(error.value).startswith(said)
