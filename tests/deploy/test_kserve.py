"""The example for KServe fits the server, and KServe would take it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from export.manifest import read_bundle
from service.settings import PREFIX, packaged_bundle, read_settings
from service.telemetry.metrics import ROUTES
from tests.deploy.kubernetes import DEPLOY, check, seconds_until_seen, variables

RUNTIME, SERVICE = (
    yaml.safe_load((DEPLOY / "kserve" / name).read_text())
    for name in ("servingruntime.yaml", "inferenceservice.yaml")
)
(CONTAINER,) = RUNTIME["spec"]["containers"]
PREDICTOR = SERVICE["spec"]["predictor"]

MODEL_FOLDER = "/mnt/models"
"""Where KServe puts what `storageUri` names."""


@pytest.fixture
def settings(monkeypatch):
    for name, value in variables(CONTAINER).items():
        assert name.startswith(PREFIX)
        monkeypatch.setenv(name, value)
    return read_settings()


@pytest.mark.parametrize("manifest", [RUNTIME, SERVICE], ids=lambda one: one["kind"])
def test_kserve_takes_the_manifest(manifest):
    check(manifest)


def test_kubernetes_takes_the_pod():
    # Of which KServe's own definition leaves much open.
    check(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "predictor"},
            "spec": {
                "containers": [CONTAINER],
                "enableServiceLinks": PREDICTOR["enableServiceLinks"],
                "terminationGracePeriodSeconds": PREDICTOR["terminationGracePeriodSeconds"],
            },
        }
    )


def test_the_service_runs_on_the_runtime_by_protocol_v2():
    model = PREDICTOR["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"] == ["v2"]
    (known,) = RUNTIME["spec"]["supportedModelFormats"]
    assert model["modelFormat"] == {"name": known["name"], "version": known["version"]}
    assert known["version"] == str(read_bundle(packaged_bundle()).manifest.format)


def test_the_server_listens_where_kserve_sends_and_serves_what_kserve_brings(settings):
    (port,) = CONTAINER["ports"]
    assert (settings.host, settings.port) == ("0.0.0.0", port["containerPort"])
    assert settings.bundle == Path(MODEL_FOLDER)
    probes = [value["httpGet"] for name, value in CONTAINER.items() if name.endswith("Probe")]
    assert len(probes) == 3
    for probe in probes:
        assert probe["path"] in ROUTES
        assert probe["port"] == settings.port


def test_a_pod_has_time_to_drain_and_is_seen_to(settings):
    assert PREDICTOR["terminationGracePeriodSeconds"] >= (
        settings.drain_delay_s + settings.drain_timeout_s + 10
    )
    assert seconds_until_seen(CONTAINER["readinessProbe"]) <= settings.drain_delay_s
    assert seconds_until_seen(CONTAINER["livenessProbe"]) > settings.engine_timeout_s
    assert PREDICTOR["enableServiceLinks"] is False
