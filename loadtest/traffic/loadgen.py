"""MLPerf's LoadGen: what it is told, how it calls us, what it wrote in its summary.

Source: https://github.com/mlcommons/inference, folder loadgen; MLPerf Inference Rules, section 3.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from model.errors import InputError

Scenario = Literal["singlestream", "server", "offline"]

NAMES: dict[Scenario, str] = {
    "singlestream": "SingleStream",
    "server": "Server",
    "offline": "Offline",
}

LEAST_QUERIES: dict[Scenario, int] = {"singlestream": 64, "server": 100, "offline": 1}
"""Of its queries; its rule for stopping early asks for more where they tell too little."""

SERVER_PERCENTILE = 0.99
SINGLE_STREAM_PERCENTILE = 0.9

SUMMARY = "mlperf_log_summary.txt"


class Query(NamedTuple):
    """One image to be asked about: LoadGen's name for the request, and the image's number."""

    id: int
    image: int


@dataclass(frozen=True)
class Plan:
    """What LoadGen is told; its log files go to the folder `out`.

    `qps`: Server's rate; of the others, the most that is expected, which sets how many requests
    LoadGen makes beforehand. `p99_ms`: Server's target.
    """

    scenario: Scenario
    seconds: float
    out: Path
    qps: float
    p99_ms: float
    images: int
    seed: int = 0


@dataclass(frozen=True)
class Verdict:
    """What LoadGen wrote in its summary. `figures`: its numbers by its own names; `reasons`: why
    the run is not valid, in its words.
    """

    valid: bool
    figures: dict[str, float]
    reasons: tuple[str, ...] = ()

    @property
    def percentiles_ms(self) -> dict[float, float]:
        """Latencies by percentile."""
        found = {}
        for name, value in self.figures.items():
            if match := re.fullmatch(r"([\d.]+) percentile latency \(ns\)", name):
                found[float(match[1])] = value / 1e6
        return found


def start_test(plan: Plan, issue: Callable[[Sequence[Query]], None]) -> Verdict:
    """Runs LoadGen until all of its queries have ended; blocks for `plan.seconds` or more.

    It calls `issue`, in threads of its own, with queries as they are due; each has to be given to
    `completed` in the end.
    """
    loadgen = _library()
    plan.out.mkdir(parents=True, exist_ok=True)
    log = loadgen.LogSettings()
    log.enable_trace = False
    log.log_output.outdir = str(plan.out)
    log.log_output.copy_summary_to_stdout = False
    library = loadgen.ConstructQSL(plan.images, plan.images, _nothing, _nothing)
    under_test = loadgen.ConstructSUT(
        lambda samples: issue([Query(sample.id, sample.index) for sample in samples]), _nothing
    )
    try:
        loadgen.StartTestWithLogSettings(under_test, library, _settings(loadgen, plan), log, "")
    finally:
        loadgen.DestroySUT(under_test)
        loadgen.DestroyQSL(library)
    return read_summary(plan.out / SUMMARY)


def completed(query: Query) -> None:
    """Tells LoadGen that a query has ended; it takes that for an answer."""
    loadgen = _library()
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])


def read_summary(path: Path) -> Verdict:
    """The verdict in a summary that LoadGen wrote; InputError if it is none."""
    text = path.read_text(encoding="utf-8")
    result = re.search(r"^Result is : (\w+)$", text, re.M)
    if not result:
        raise InputError(f"{path}: no result of LoadGen's; its log beside it says why")
    pairs = re.findall(r"^([^:\n]+?)\s*:\s*(-?[\d.]+(?:e[+-]?\d+)?)$", text, re.M)
    missed = re.findall(r"^ +(.+ satisfied ?): NO$", text, re.M | re.I)
    advice = re.findall(r"^ \* (.+(?:\n [^* ].*)*)", text, re.M)
    valid = result[1] == "VALID"
    reasons = [f"{rule.strip()}: no" for rule in missed]
    reasons += [" ".join(told.split()) for told in advice]
    return Verdict(
        valid, {name: float(value) for name, value in pairs}, () if valid else tuple(reasons)
    )


def _library() -> Any:
    # By name: it brings no types, and only who asks for it needs it.
    return importlib.import_module("mlperf_loadgen")


def _settings(loadgen: Any, plan: Plan) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, NAMES[plan.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1e3 * plan.seconds)
    settings.min_query_count = LEAST_QUERIES[plan.scenario]
    for name in ("qsl", "sample_index", "schedule"):
        setattr(settings, f"{name}_rng_seed", plan.seed)
    if plan.scenario == "server":
        settings.server_target_qps = plan.qps
        settings.server_target_latency_ns = round(1e6 * plan.p99_ms)
        settings.server_target_latency_percentile = SERVER_PERCENTILE
    elif plan.scenario == "offline":
        settings.offline_expected_qps = plan.qps
    else:
        settings.single_stream_expected_latency_ns = round(1e9 / plan.qps)
        settings.single_stream_target_latency_percentile = SINGLE_STREAM_PERCENTILE
    return settings


def _nothing(*_: object) -> None:
    """Pictures are in memory before and after."""
