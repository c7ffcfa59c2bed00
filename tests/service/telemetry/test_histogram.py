"""Our histogram shows what prometheus_client's own would."""

from __future__ import annotations

import prometheus_client as prom
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.histogram import Histogram

BOUNDS = (0.0, 0.25, 1.0, 10.0)


@given(st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(-1e6, 1e6))))
def test_a_scrape_is_that_of_prometheus_client(values):
    prom.disable_created_metrics()
    ours, theirs = prom.CollectorRegistry(), prom.CollectorRegistry()
    histogram = Histogram("size_ratio", "Some text", BOUNDS)
    ours.register(histogram)
    oracle = prom.Histogram("size_ratio", "Some text", buckets=BOUNDS, registry=theirs)
    for value in values:
        histogram.series[""].observe(value)
        oracle.observe(value)
    assert prom.generate_latest(ours) == prom.generate_latest(theirs)


def test_a_label_has_its_series_from_the_first_scrape():
    prom.disable_created_metrics()
    ours, theirs = prom.CollectorRegistry(), prom.CollectorRegistry()
    histogram = Histogram("seconds", "Text", BOUNDS, "stage", ["read", "decode"])
    ours.register(histogram)
    oracle = prom.Histogram("seconds", "Text", ["stage"], buckets=BOUNDS, registry=theirs)
    for stage in ("read", "decode"):
        oracle.labels(stage)
    histogram.series["decode"].observe(0.5)
    oracle.labels("decode").observe(0.5)
    assert prom.generate_latest(ours) == prom.generate_latest(theirs)
