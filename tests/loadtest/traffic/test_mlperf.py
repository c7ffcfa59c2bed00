"""MLPerf's LoadGen against a server in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtest.protocols.post import Post
from loadtest.protocols.protocol import Call, Picture
from loadtest.traffic.loadgen import SUMMARY, Plan, Scenario, Verdict, read_summary
from loadtest.traffic.mlperf import OFFLINE_CALLERS, WARM_UP_CALLS, Mlperf
from loadtest.traffic.sample import Outcome
from loadtest.traffic.trial import Trial
from model.errors import InputError
from tests.loadtest.http_server import Reply, http_server

pytest.importorskip("mlperf_loadgen")

PICTURES = [Picture(b"one", "1.jpg", (1, 1)), Picture(b"two", "2.jpg", (1, 1))]


def run(
    scenario: Scenario, out: Path, qps: float, failing: int | None = None
) -> tuple[Trial, Verdict]:
    def reply(number: int) -> Reply:
        return (500, b"") if number == failing else (200, b"{}")

    plan = Plan(scenario, 0.5, out, qps, 1000.0, len(PICTURES))
    with http_server(reply) as url:
        return asyncio.run(Mlperf(Post([url]), PICTURES).run(plan))


@pytest.mark.parametrize(
    ("scenario", "rate", "callers"),
    [("singlestream", None, 1), ("server", 200.0, None), ("offline", None, OFFLINE_CALLERS)],
)
def test_loadgen_and_we_count_the_same_requests(
    scenario: Scenario, rate: float | None, callers: int | None, tmp_path: Path
) -> None:
    trial, verdict = run(scenario, tmp_path, 200.0)
    assert (trial.load.rate, trial.load.callers) == (rate, callers)
    assert {sample.outcome for sample in trial.samples} == {Outcome.OK}
    logged = (tmp_path / "mlperf_log_detail.txt").read_text()
    assert f'"key": "result_query_count", "value": {len(trial.samples)}' in logged or (
        scenario == "offline"
    )
    assert "Min latency (ns)" in verdict.figures
    if scenario == "offline":  # the images that 200 a second would take half a second for, and 10 %
        assert len(trial.samples) == 110
    else:
        assert trial.load.seconds >= 0.4


def test_each_picture_is_sent_before_the_clock_starts(tmp_path: Path) -> None:
    pictures = [Picture(b"%d" % n, f"{n}.jpg", (1, 1)) for n in range(20)]
    asked: list[int] = []

    class Kept(Post):
        def call(self, number: int, picture: Picture, scale: int | None) -> Call:
            asked.append(number)
            return super().call(number, picture, scale)

        def prepare(self, pictures: Sequence[Picture], scale: int | None) -> None:
            asked.append(-1)

    with http_server() as url:
        plan = Plan("server", 0.5, tmp_path, 200.0, 1000.0, len(pictures))
        trial, _ = asyncio.run(Mlperf(Kept([url]), pictures).run(plan))
    assert asked[:21] == list(range(-1, 20))
    assert len(asked) == 21 + len(trial.samples)


def test_summary_is_loadgens_own(tmp_path: Path) -> None:
    trial, verdict = run("server", tmp_path, 200.0)
    assert verdict == read_summary(tmp_path / SUMMARY)
    assert verdict.figures["target_qps"] == 200.0
    assert set(verdict.percentiles_ms) == {50.0, 90.0, 95.0, 97.0, 99.0, 99.9}
    # Ours can't be more than its own: it stops its clock after we have.
    slowest_ms = 1e3 * max(sample.latency for sample in trial.samples)
    assert verdict.percentiles_ms[99.9] >= 0.99 * slowest_ms


def test_failed_request_is_ours_to_tell_since_loadgen_does_not(tmp_path: Path) -> None:
    trial, _ = run("server", tmp_path, 200.0, failing=WARM_UP_CALLS + 3)
    assert [sample.why for sample in trial.samples if sample.why] == ["500"]


def test_stopped_mlperf_lets_loadgen_end_without_requests(tmp_path: Path) -> None:
    stop = threading.Event()

    def reply(number: int) -> Reply:
        if number == WARM_UP_CALLS + 5:
            stop.set()
        return 200, b"{}"

    async def main(url: str) -> Trial:
        mlperf = Mlperf(Post([url]), PICTURES)
        waiting = asyncio.create_task(asyncio.to_thread(stop.wait))
        waiting.add_done_callback(lambda _: mlperf.stop())
        trial, _ = await mlperf.run(Plan("server", 1.5, tmp_path, 50.0, 1000.0, 2))
        return trial

    with http_server(reply) as url:
        trial = asyncio.run(main(url))
    # LoadGen ends by itself, with its least number of requests.
    assert 6 <= len(trial.samples) < 100


def test_summary_with_scientific_figures_is_read(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(
        "Scenario : Server\nResult is : VALID\n  Min queries satisfied : Yes\n"
        "Completed samples per second    : 1.5e+02\n99.00 percentile latency (ns)   : 43502340\n"
    )
    verdict = read_summary(tmp_path / SUMMARY)
    assert verdict.valid
    assert verdict.figures["Completed samples per second"] == 150.0
    assert verdict.percentiles_ms == {99.0: 43.50234}


def test_summary_says_why_a_run_does_not_count(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(
        "Result is : INVALID\n  Performance constraints satisfied : Yes\n"
        "  Min queries satisfied : Yes\n  Early stopping satisfied: NO\nRecommendations:\n"
        "Early Stopping Result:\n * Run unsuccessful.\n"
        " * Would need to run at least 9 more queries,\n"
        " with the run being successful if every additional\n query were under latency.\n"
    )
    assert read_summary(tmp_path / SUMMARY) == Verdict(
        False,
        {},
        (
            "Early stopping satisfied: no",
            "Run unsuccessful.",
            "Would need to run at least 9 more queries, with the run being successful if every "
            "additional query were under latency.",
        ),
    )


def test_summary_without_a_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text("")
    with pytest.raises(InputError, match="no result of LoadGen's"):
        read_summary(tmp_path / SUMMARY)
