"""What the chart has autoscalers ask for."""

from __future__ import annotations

import re

import pytest

from tests.deploy.kubernetes import example, render, the
from tests.deploy.served_names import served_names


@pytest.mark.parametrize(
    ("name", "kind"), [("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")]
)
def test_an_autoscaler_decides_how_many(name, kind):
    manifests = render(example(name))
    assert "replicas" not in the("Deployment", manifests)["spec"]
    scaler = the(kind, manifests)["spec"]
    assert scaler["scaleTargetRef"]["name"] == the("Deployment", manifests)["metadata"]["name"]
    alone = the("Deployment", render({"replicas": 3}))["spec"]
    assert alone["replicas"] == 3


def test_keda_asks_for_the_pods_of_the_monitors_job():
    manifests = render(example("keda"))
    job = the("Service", manifests)["metadata"]["name"]
    triggers = the("ScaledObject", manifests)["spec"]["triggers"]
    queries = [trigger["metadata"]["query"] for trigger in triggers]
    for query, metric in zip(
        queries, ("retinaserve_saturation_ratio", "retinaserve_inflight_batches"), strict=True
    ):
        assert metric in served_names()
        assert f'{metric}{{namespace="vision",job="{job}"}}' in query
    assert [trigger["metadata"]["threshold"] for trigger in triggers] == ["0.5", "0.7"]


@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [("hpa", "HorizontalPodAutoscaler", "metrics"), ("keda", "ScaledObject", "triggers")],
)
def test_scaling_by_saturation_alone_can_be_chosen(name, kind, field):
    values = example(name)
    values["autoscaling"]["busy"] = 0
    (only,) = the(kind, render(values))["spec"][field]
    assert "retinaserve_saturation_ratio" in str(only)


def test_prometheus_adapter_gives_what_the_autoscaler_asks_for():
    rules = example("prometheus-adapter")["rules"]["custom"]
    metrics = the("HorizontalPodAutoscaler", render(example("hpa")))["spec"]["metrics"]
    assert [one["pods"]["metric"]["name"] for one in metrics] == [
        rule["name"]["as"] for rule in rules
    ]
    for rule in rules:
        assert re.match(r"\w+", rule["seriesQuery"])[0] in served_names()
