from __future__ import annotations

from loadtest.cli.swaps import Swap, latencies
from loadtest.traffic.sample import Outcome, Sample


def sample(intended: float, seconds: float) -> Sample:
    return Sample(intended, intended, intended + seconds, Outcome.OK, 200)


def test_latencies_are_told_apart_by_when_a_request_was_meant_to_come():
    swaps = [Swap(10.0, 20.0, 200, 100.0, 100.0), Swap(30.0, 40.0, 200, 100.0, 100.0)]
    samples = [sample(9.9, 5.0), sample(10.0, 0.2), sample(20.0, 0.2), sample(35.0, 0.2)]
    assert latencies(samples, swaps, within=True) == "3 requests, p50 200 ms, p99 200 ms"
    assert latencies(samples, swaps, within=False) == "1 requests, p50 5000 ms, p99 5000 ms"
    assert latencies([], swaps, within=False) == "no request"
