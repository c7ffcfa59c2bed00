from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from loadtest.cli.soak import Log, Memory, counters_of, main, slope_mb_per_hour, verdict

SCRAPE = """\
# TYPE retinaserve_requests_received_total counter
retinaserve_requests_received_total{route="/v1/detect"} 12.0
retinaserve_requests_received_total{route="/livez"} 7.0
retinaserve_requests_total{outcome="ok",route="/v1/detect"} 9.0
retinaserve_requests_total{outcome="cancelled",route="/v1/detect"} 3.0
retinaserve_requests_total{outcome="ok",route="/livez"} 7.0
retinaserve_unseen_shapes_total 0.0
"""
COUNTERS = {
    "requests_received_total": 12.0, "requests_total": 12.0, "unseen_shapes_total": 0.0,
}  # fmt: skip


def test_counters_are_those_of_detect_requests() -> None:
    assert counters_of(SCRAPE) == COUNTERS


def test_slope_is_that_of_the_run_after_its_first_third() -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, 1800)
    # 100 MB in the first ten minutes, then 36 MB an hour.
    memory = [
        Memory(float(s), 300 + min(s, 600) / 6 + 0.01 * max(0, s - 600) + float(noise[s]))
        for s in range(1800)
    ]
    slope, error = slope_mb_per_hour(memory)
    assert slope == pytest.approx(36.0, abs=2.0)
    assert 0 < error < 2.0


@pytest.mark.parametrize(
    ("log", "counters", "slope", "wrong"),
    [
        (Log(), {}, 5.0, []),
        (Log(), {}, 15.0, []),
        (Log(), {}, 30.0, ["memory grows by 30.0 MB an hour; accepted are 20"]),
        (Log(), {"requests_total": 11.0}, 0.0, ["12 requests received, 11 ended"]),
        (Log(), {"unseen_shapes_total": 2.0}, 0.0, ["2 runs of a shape that was not warmed"]),
        (
            Log(failures=Counter({"good: refused 503 queue_full": 4})),
            {},
            0.0,
            ["4 x good: refused 503 queue_full"],
        ),
    ],
)
def test_verdict_names_what_is_wrong(
    log: Log, counters: dict[str, float], slope: float, wrong: list[str]
) -> None:
    assert verdict(log, COUNTERS | counters, slope, error=1.0, most=20.0) == wrong


@pytest.mark.slow
def test_a_short_soak_answers_every_good_request(capsys: pytest.CaptureFixture[str]) -> None:
    # Memory still grows to what the shapes need: its slope is for longer runs.
    assert main(["--minutes", "0.4", "--most-mb-per-hour", "1e9"]) == 0
    assert "all good requests answered, all counters add up" in capsys.readouterr().out
