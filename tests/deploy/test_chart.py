"""What the Helm chart makes of its values, and that Kubernetes would take it."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from service.settings import Settings
from tests.deploy.kubernetes import (
    CHART,
    VERSIONS,
    check,
    example,
    helm,
    pod,
    quantity,
    render,
    rendered,
    seconds_until_seen,
    server,
    the,
    variables,
)
from tests.deploy.prometheus import CONFIG, dashboard

EXAMPLES = ("gpu", "hpa", "keda")
EVERYTHING = {
    **example("hpa"),
    "alerts": {"enabled": True},
    "apiKeySecret": {"name": "keys"},
    "bundle": {"init": {"image": "b", "command": ["true"]}},
    "dashboard": {"enabled": True},
    "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "gpu": {"enabled": True, "build": True, "runtimeClassName": "nvidia"},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"gpu": "l4"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "vision"},
    "preStopSeconds": 3,
    "priorityClassName": "high",
    "serviceAccountName": "reader",
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}
CASES = {"defaults": {}, "everything": EVERYTHING} | {name: example(name) for name in EXAMPLES}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_kubernetes_takes_what_is_rendered(values):
    manifests = render(values)
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= {one["kind"] for one in manifests}
    for manifest in manifests:
        check(manifest)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_helm_lint_has_nothing_to_say(values):
    report = helm().lint(CHART, values, strict=True)
    worse_than_a_hint = [one for one in report["messages"] if one["severity"] > 1]
    assert (worse_than_a_hint, report["errors"]) == ([], [])


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_pods_have_no_rights(values):
    # What the Pod Security Standard "restricted" asks for, a root that can't be written, no token.
    manifests = render(values)
    for spec in (pod(manifests), the("Pod", manifests)["spec"]):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_services_of_the_namespace_set_no_variables(values):
    # One named "retinaserve" would set RETINASERVE_PORT to a URL.
    assert pod(render(values))["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("values", "grace"),
    [
        ({}, 45),
        ({"settings": {"drain_delay_s": 20, "drain_timeout_s": 60.5}}, 91),
        ({"preStopSeconds": 7}, 52),
        ({"graceMarginSeconds": 5}, 40),
    ],
)
def test_a_pod_has_time_to_drain(values, grace):
    manifests = render(values)
    container, given = server(manifests), variables(server(manifests))
    drain_s = float(given["RETINASERVE_DRAIN_DELAY_S"]) + float(
        given["RETINASERVE_DRAIN_TIMEOUT_S"]
    )
    sleep_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod(manifests)["terminationGracePeriodSeconds"] == grace > sleep_s + drain_s
    assert sleep_s == values.get("preStopSeconds", 0)


@pytest.mark.parametrize("delay", [2, 3.5, 5, 60])
def test_readiness_is_seen_to_end_before_the_server_stops_serving(delay):
    container = server(render({"settings": {"drain_delay_s": delay}}))
    assert 0 < seconds_until_seen(container["readinessProbe"]) <= delay
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


@pytest.mark.parametrize("timeout", [5, 30, 95])
def test_liveness_is_more_patient_than_the_watchdog_of_the_engine(timeout):
    probe = server(render({"settings": {"engine_timeout_s": timeout}}))["livenessProbe"]
    # The first question may come just before the run ends, the last has to come after.
    assert (
        probe["periodSeconds"] * (probe["failureThreshold"] - 1) + probe["timeoutSeconds"] > timeout
    )
    assert probe["httpGet"] == {"path": "/livez", "port": "http"}
    assert probe["terminationGracePeriodSeconds"] < 10


@pytest.mark.parametrize("startup", [600, 1801])
def test_a_pod_may_take_its_time_to_become_ready(startup):
    deployment = the("Deployment", render({"startupSeconds": startup}))["spec"]
    probe = deployment["template"]["spec"]["containers"][0]["startupProbe"]
    assert startup <= seconds_until_seen(probe) <= startup + 2
    assert probe["httpGet"]["path"] == "/readyz"
    assert deployment["progressDeadlineSeconds"] > startup


def test_the_paths_of_the_probes_are_routes():
    from service.telemetry.metrics import ROUTES

    container = server(render())
    probes = [value for name, value in container.items() if name.endswith("Probe")]
    assert len(probes) == 3
    assert {probe["httpGet"]["path"] for probe in probes} <= set(ROUTES)


def test_a_new_pod_is_ready_before_an_old_one_goes():
    strategy = the("Deployment", render())["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("strategy", "rendered"),
    [
        # The API server refuses rollingUpdate beside Recreate, and the default has one.
        ({"type": "Recreate"}, {"type": "Recreate"}),
        ({"rollingUpdate": None}, {"type": "RollingUpdate"}),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}},
        ),
    ],
)
def test_a_strategy_has_what_belongs_to_its_type(strategy, rendered):
    assert the("Deployment", render({"strategy": strategy}))["spec"]["strategy"] == rendered


def test_the_memory_limit_holds_the_bundled_model_and_what_callers_may_send():
    resources = server(render())["resources"]
    fields = Settings.model_fields
    sent = fields["max_upload_bytes"].default + fields["max_decoded_bytes"].default
    assert quantity(resources["limits"]["memory"]) - sent > 400e6  # docs/reliability.md, "Small"
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("cells", "cells-retinaserve"),
        ("retinaserve", "retinaserve"),
        ("my-retinaserve-2", "my-retinaserve-2"),
        ("x" * 53, "x" * 44 + "-retinaserve"),
    ],
)
def test_everything_is_named_after_the_release(name, full):
    manifests = render({"admin": {"enabled": True, "service": True}}, name)
    names = {one["metadata"]["name"] for one in manifests}
    assert names == {full, f"{full}-admin", f"{full}-test"}
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_selectors_find_the_pods_and_not_the_test(values):
    manifests = render(values)
    labels = the("Deployment", manifests)["spec"]["template"]["metadata"]["labels"].items()
    test = the("Pod", manifests)["metadata"]["labels"].items()
    selectors = [
        the("Deployment", manifests)["spec"]["selector"]["matchLabels"],
        the("PodDisruptionBudget", manifests)["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy", manifests)["spec"]["podSelector"]["matchLabels"],
        *[one["spec"]["selector"] for one in manifests if one["kind"] == "Service"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
        assert not selector.items() <= test


def test_the_monitor_scrapes_the_service_and_not_the_admin_port():
    manifests = render(example("hpa"))
    wanted = the("ServiceMonitor", manifests)["spec"]["selector"]["matchLabels"].items()
    found = [
        one["metadata"]["name"]
        for one in manifests
        if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()
    ]
    assert found == ["cells-retinaserve"]
    (endpoint,) = the("ServiceMonitor", manifests)["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")


@pytest.mark.parametrize(
    ("phase", "scraped"),
    # Pending: it has an address already, and an init container builds a plan.
    [("Pending", False), ("Running", True), ("Succeeded", False), ("Failed", False)],
)
def test_the_monitor_scrapes_a_pod_once_its_server_runs(phase, scraped):
    values = {**example("gpu"), "serviceMonitor": {"enabled": True}}
    (endpoint,) = the("ServiceMonitor", render(values))["spec"]["endpoints"]
    # Whether it is ready does not matter: such a pod answers, and the alerts look at what it says.
    labels = {"__meta_kubernetes_pod_phase": phase, "__meta_kubernetes_pod_ready": "false"}
    assert is_kept(endpoint["relabelings"], labels) is scraped


def is_kept(relabelings, labels):
    """Whether Prometheus keeps a target with these labels."""
    assert {rule["action"] for rule in relabelings} == {"keep"}
    return all(
        re.fullmatch(rule["regex"], ";".join(labels.get(one, "") for one in rule["sourceLabels"]))
        for rule in relabelings
    )


def test_alerts_and_dashboard_are_those_of_compose():
    values = {
        "alerts": {"enabled": True, "runbook": "https://docs.internal/run.md"},
        "dashboard": {"enabled": True},
    }
    manifests = render(values)
    texts = [(CONFIG / name).read_text() for name in ("recording.yml", "alerts.yml")]
    groups = [
        group
        for text in texts
        for group in yaml.safe_load(
            text.replace("docs/runbook.md", "https://docs.internal/run.md")
        )["groups"]
    ]
    assert the("PrometheusRule", manifests)["spec"]["groups"] == groups
    held = the("ConfigMap", manifests)
    assert yaml.safe_load(held["data"]["retinaserve.json"]) == dashboard()
    assert held["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_chart_is_for_this_version_and_the_kubernetes_that_is_checked():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_notes_name_the_service_and_how_to_reload():
    notes = rendered(example("hpa"))["retinaserve/templates/NOTES.txt"]
    assert "port-forward service/cells-retinaserve 8000:80" in notes
    assert "8001/admin/reload" in notes
