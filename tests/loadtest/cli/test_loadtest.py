"""`retinaserve loadtest`, whole, against small servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import retinaserve
from loadtest.report.document import read_study
from loadtest.servers import Server
from loadtest.traffic.trial import Study
from tests.loadtest.http_server import http_server

QUICK = ["--protocol", "post", "--warm-up", "0", "--quiet"]


def loadtest(*arguments: str) -> int:
    return retinaserve.main(["loadtest", *arguments])


def test_load_is_measured_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_file, page = tmp_path / "study.json", tmp_path / "page.html"
    with http_server() as url:
        written = ["--json", str(study_file), "--html", str(page)]
        load = ["--rate", "100", "--process", "constant", "--seconds", "1", "--p99-ms", "5000"]
        assert loadtest(url, *QUICK, *load, *written) == 0
    study = read_study(study_file)
    assert (study.kind, study.p99_ms, study.interrupted) == ("load", 5000.0, False)
    (trial,) = study.trials
    assert len(trial.samples) == 100
    assert study.facts["servers"] == url.rstrip("/")
    assert {"command", "when", "client", "pictures", "retinaserve"} <= set(study.facts)
    asked = {"protocol": "post", "timeout": "60 s", "warm-up": "0 s", "arrivals": "constant"}
    assert asked.items() <= study.facts.items()
    assert "<html" in page.read_text()
    assert "answers/s" in capsys.readouterr().out


def test_missed_target_is_exit_code_1() -> None:
    with http_server() as url:
        assert loadtest(url, *QUICK, "--callers", "1", "--seconds", "0.3", "--p99-ms", "0.001") == 1


def test_a_sweep_of_rates_misses_the_target_that_one_rate_misses() -> None:
    with http_server() as url:
        sweep = ["--sweep-rate", "100,200", "--process", "constant", "--seconds", "1"]
        assert loadtest(url, *QUICK, *sweep, "--p99-ms", "0.001") == 1
        assert loadtest(url, *QUICK, *sweep, "--p99-ms", "60000") == 0


def test_a_single_answer_is_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = ["--json", str(tmp_path / "study.json"), "--html", str(tmp_path / "page.html")]
    with http_server() as url:
        load = ["--rate", "1", "--process", "constant", "--seconds", "1"]
        assert loadtest(url, *QUICK, *load, *written) == 0
    assert "the only answer took" in capsys.readouterr().out
    assert len(read_study(tmp_path / "study.json").trials[0].samples) == 1


def test_what_was_measured_is_kept_though_showing_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: Study) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("loadtest.cli.loadtest.print_study", fail)
    study_file, page = tmp_path / "study.json", tmp_path / "page.html"
    written = ["--json", str(study_file), "--html", str(page)]
    with http_server() as url, contextlib.suppress(BrokenPipeError):
        loadtest(url, *QUICK, "--callers", "1", "--seconds", "0.1", *written)
    assert read_study(study_file).trials[0].samples
    assert page.exists()


def test_few_requests_have_not_met_a_target() -> None:
    with http_server() as url:
        load = ["--rate", "50", "--process", "constant", "--seconds", "1", "--p99-ms", "5000"]
        assert loadtest(url, *QUICK, *load) == 1


def test_failures_miss_the_target_however_fast_they_come() -> None:
    with http_server(lambda number: (503, b"") if number % 10 == 5 else (200, b"{}")) as url:
        load = ["--rate", "100", "--seconds", "1", "--p99-ms", "5000"]
        assert loadtest(url, *QUICK, *load) == 1


def test_a_precision_that_was_not_reached_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with http_server() as url:
        load = ["--rate", "50", "--process", "constant", "--seconds", "1", "--precision", "p99=10"]
        assert loadtest(url, *QUICK, *load) == 0
    assert "after 1 s the 95 % interval of p99 has no upper end; 10 %" in capsys.readouterr().out


def test_load_is_chosen_by_the_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.traffic.study.CAPACITY_S", 0.3)
    study_file = tmp_path / "study.json"
    with http_server() as url:
        assert loadtest(url, *QUICK, "--seconds", "0.5", "--json", str(study_file)) == 0
    study = read_study(study_file)
    assert "70% of the" in study.facts["rate"]
    (trial,) = study.trials
    assert trial.load.rate is not None
    assert trial.load.process == "poisson"


@pytest.mark.parametrize(
    ("aim", "kind", "trials"),
    [
        (["--sweep-rate", "20,40"], "rates", 2),
        (["--sweep-rate", "auto"], "rates", 8),
        (["--find-max-qps", "--p99-ms", "0.001"], "max-qps", None),
    ],
)
def test_sweeps_and_searches_are_runs(
    aim: list[str],
    kind: str,
    trials: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadtest.traffic.study.CAPACITY_S", 0.3)
    study_file = tmp_path / "study.json"
    with http_server() as url:
        code = loadtest(url, *QUICK, *aim, "--seconds", "0.3", "--json", str(study_file))
    study = read_study(study_file)
    assert study.kind == kind
    assert trials is None or len(study.trials) == trials
    assert code == (1 if kind == "max-qps" else 0)


def test_mlperf_is_judged_by_its_loadgen(tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    study_file, logs = tmp_path / "study.json", tmp_path / "logs"
    with http_server() as url:
        load = ["--mlperf", "server", "--qps", "100", "--seconds", "0.5", "--p99-ms", "5000"]
        # Fewer requests than its early stopping needs.
        assert loadtest(url, *QUICK, *load, "--out", str(logs), "--json", str(study_file)) == 1
    study = read_study(study_file)
    assert study.kind == "mlperf"
    assert study.found["valid"] == 0.0
    assert study.facts["MLPerf"] == "Server: INVALID"
    assert (logs / "mlperf_log_summary.txt").exists()


def test_two_studies_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = tmp_path / "one.json"
    with http_server() as url:
        assert loadtest(url, *QUICK, "--rate", "50", "--seconds", "1", "--json", str(one)) == 0
    capsys.readouterr()
    assert loadtest("compare", str(one), str(one)) == 0
    assert capsys.readouterr().out
    assert loadtest("compare", str(one)) == 2
    assert "compare needs two files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:9"], "can't be reached (connection refused)"),
        (["127.0.0.1:9"], "is no URL"),
        (["http://127.0.0.1:9", "--rate", "-1"], "--rate -1: accepted are numbers above 0"),
        (["http://127.0.0.1:9", "--json", "none/such.json"], "there is no folder none"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert loadtest(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("retinaserve loadtest: ")
    assert said in error
    assert error.count("\n") == 1


def test_command_is_kept_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file = tmp_path / "study.json"
    with http_server() as url:
        arguments = [
            "loadtest", url, *QUICK, "--callers", "1", "--seconds", "0.1",
            "--head", "Authorization: Bearer hush", "--header=X-Key: hush",
            "--json", str(study_file),
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["retinaserve", *arguments])
        assert retinaserve.main() == 0
    command = read_study(study_file).facts["command"]
    assert command.startswith(f"retinaserve loadtest {url} --protocol post")
    assert "hush" not in study_file.read_text()


def test_interrupted_run_still_reports(tmp_path: Path) -> None:
    study_file = tmp_path / "study.json"
    command = [sys.executable, "-m", "retinaserve", "loadtest"]
    options = ["--protocol", "post", "--warm-up", "0", "--rate", "50", "--seconds", "600"]

    def reply(number: int) -> tuple[int, bytes]:
        if number == 30:
            os.kill(process.pid, signal.SIGINT)
        return 200, b"{}"

    with http_server(reply) as url:
        process = subprocess.Popen(
            [*command, url, *options, "--quiet", "--json", str(study_file)],
            stdout=subprocess.PIPE,
            text=True,
        )
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: this is what had been measured by then" in said
    study = read_study(study_file)
    assert study.interrupted
    assert 25 <= len(study.trials[0].samples) <= 600


@pytest.mark.slow
def test_our_own_server_is_measured_with_its_stages(tmp_path: Path) -> None:
    study_file = tmp_path / "study.json"
    with Server(module="loadtest.speed.null_server") as server:
        load = ["--rate", "10", "--seconds", "3", "--bodies", "raw=2,multipart=1,json=1"]
        assert loadtest(server.url, "--quiet", *load, "--json", str(study_file)) == 0
    study = read_study(study_file)
    assert study.facts["model"].startswith("cells")
    assert {"decode", "queue", "inference", "postprocess"} <= set(study.trials[0].samples[0].stages)


@pytest.mark.slow
def test_a_sweep_of_scales_without_an_ap_keeps_what_it_has_timed(
    drawn: Path, tmp_path: Path
) -> None:
    study_file = tmp_path / "study.json"
    labelled = ["--images", str(drawn / "images"), "--data", str(drawn / "annotations.json")]
    with Server(module="loadtest.speed.null_server") as server:
        sweep = ["--sweep-scale", "128", "--seconds", "1", *labelled, "--json", str(study_file)]
        assert loadtest(server.url, "--quiet", *sweep) == 0
    study = read_study(study_file)
    assert [trial.load.callers for trial in study.trials] == [1, 8]
    assert all(trial.samples and trial.ap is None for trial in study.trials)
    assert study.warnings[0].startswith("no AP at scale 128: the server finds nothing in the pictu")
