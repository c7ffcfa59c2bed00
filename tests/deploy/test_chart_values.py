"""What the chart's values mean to the server, and which are refused."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import yaml

from export.cli import build
from service.settings import PREFIX, Settings, read_settings
from tests.deploy.kubernetes import CHART, example, pod, render, server, the, variables
from tests.deploy.served_names import served_names
from tests.deploy.settings_schema import SCHEMA, settings_schema

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def settings_of(values, monkeypatch) -> Settings:
    """The settings of a server in the pod."""
    for name, value in variables(server(render(values))).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    return read_settings()


def refusal(values) -> str:
    """What Helm says against these values."""
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
    with pytest.raises(helm.HelmError) as caught:
        render(values)
    return str(caught.value)


def test_the_schema_knows_every_setting_with_the_servers_bounds():
    written = json.loads(SCHEMA.read_text())["properties"]["settings"]
    assert written == settings_schema(), "python -m tests.deploy.settings_schema writes it anew"


def test_the_server_reads_what_the_values_say(monkeypatch):
    given = {
        "max_upload_bytes": 268435457,
        "latency_target_s": 0.25,
        "quota_images_per_s": 1e-7,
        "torch_compile": True,
        "log_level": "debug",
        "scales": "320,480",
        "default_timeout_ms": 60000,
    }
    settings = settings_of({"settings": given}, monkeypatch)
    assert {name: getattr(settings, name) for name in given} == given
    assert (settings.host, settings.port, settings.device) == ("0.0.0.0", 8000, "cpu")
    assert settings.admin_port is None


def test_defaults_are_the_servers_but_for_a_longer_delay(monkeypatch):
    assert VALUES["settings"].pop("drain_delay_s") > Settings().drain_delay_s
    for name, value in VALUES["settings"].items():
        assert value == getattr(Settings(), name), name


@pytest.mark.parametrize(
    ("bundle", "path", "source"),
    [
        ({}, None, None),
        ({"path": "/models/cells"}, Path("/models/cells"), None),
        ({"volume": {"hostPath": {"path": "/b"}}}, Path("/bundle"), {"hostPath": {"path": "/b"}}),
        (
            {"volume": {"emptyDir": {}}, "path": "a/b"},
            Path("/bundle/a/b"),
            {"emptyDir": {}},
        ),
        ({"init": {"image": "i"}, "path": "cells"}, Path("/bundle/cells"), {"emptyDir": {}}),
    ],
)
def test_the_bundle_is_where_the_values_say(bundle, path, source, monkeypatch):
    manifests = render({"bundle": bundle})
    settings = settings_of({"bundle": bundle}, monkeypatch)
    assert settings.bundle == (path or Settings().bundle)
    volumes = {
        one["name"]: {key: value for key, value in one.items() if key != "name"}
        for one in pod(manifests).get("volumes", [])
    }
    assert volumes == ({} if source is None else {"bundle": source})
    mounts = (
        [] if source is None else [{"name": "bundle", "mountPath": "/bundle", "readOnly": True}]
    )
    assert server(manifests).get("volumeMounts", []) == mounts


def test_an_init_container_may_write_the_bundle_and_say_more_of_itself():
    init = {"image": "i", "command": ["get"], "securityContext": {"runAsUser": 7}}
    (container,) = pod(render({"bundle": {"init": init}}))["initContainers"]
    assert container["volumeMounts"] == [{"name": "bundle", "mountPath": "/bundle"}]
    assert container["command"] == ["get"]
    assert container["securityContext"]["runAsUser"] == 7
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_gpu_is_asked_for_and_its_plan_built_for_the_batches_that_will_come(monkeypatch):
    manifests = render(example("gpu"))
    (plan,) = pod(manifests)["initContainers"]
    assert settings_of(example("gpu"), monkeypatch).device == "cuda"
    verb, *arguments = plan["args"]
    parser = argparse.ArgumentParser()
    build.configure(parser)
    args = parser.parse_args(arguments)
    assert verb == "build"
    assert (args.bundle, args.max_batch, args.precision) == (Path("/bundle/cells"), 16, None)
    for container in (plan, server(manifests)):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert variables(container)["RETINASERVE_PLANS"] == "/plans"
        assert {"name": "plans", "mountPath": "/plans"} in container["volumeMounts"]
    assert "nvidia.com/gpu" not in server(render())["resources"]["limits"]


@pytest.mark.parametrize(("service", "host"), [(False, "127.0.0.1"), (True, "0.0.0.0")])
def test_the_admin_port_is_the_pods_own_unless_it_shall_have_a_service(service, host, monkeypatch):
    values = {"admin": {"enabled": True, "service": service, "port": 9001}}
    settings = settings_of(values, monkeypatch)
    assert (settings.admin_host, settings.admin_port) == (host, 9001)
    found = [one for one in render(values) if one["kind"] == "Service"]
    assert len(found) == 1 + service
    public = the("Service", found, "cells-retinaserve")["spec"]
    assert [port["name"] for port in public["ports"]] == ["http"]
    if service:
        admin = the("Service", found, "cells-retinaserve-admin")["spec"]
        assert (admin["clusterIP"], admin["ports"][0]["port"]) == ("None", 9001)


def test_nobody_reaches_the_admin_port_unless_named():
    values = {"admin": {"enabled": True, "service": True}}
    rules = the("NetworkPolicy", render(values))["spec"]
    assert rules["ingress"] == [{"ports": [{"port": "http"}]}]
    assert rules["egress"] == []
    rules = the("NetworkPolicy", render(example("hpa")))["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules] == ["http", "admin"]
    assert all(rule["from"] for rule in rules)


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


WRONG = {
    "an unknown value": ({"replica": 3}, "additional properties 'replica' not allowed"),
    "an unknown setting": (
        {"settings": {"max_batchsize": 3}},
        "at '/settings': additional properties 'max_batchsize' not allowed",
    ),
    "a setting out of its bounds": (
        {"settings": {"max_batch_size": 300}},
        "at '/settings/max_batch_size': maximum: got 300, want 256",
    ),
    "a setting of the chart's own": (
        {"settings": {"port": 9000}},
        "additional properties 'port' not allowed",
    ),
    "too short a delay": (
        {"settings": {"drain_delay_s": 1}},
        "at '/settings/drain_delay_s': minimum: got 1, want 2",
    ),
    "a delay that is taken out": (
        {"settings": {"drain_delay_s": None}},
        "missing property 'drain_delay_s'",
    ),
    "a name that the alerts would not know": (
        {"fullnameOverride": "detector"},
        "at '/fullnameOverride'",
    ),
    "the port of the service as admin port": ({"admin": {"port": 8000}}, "at '/admin/port'"),
    "two sources of the bundle": (
        {"bundle": {"volume": {"emptyDir": {}}, "init": {"image": "i"}}},
        "bundle.volume and bundle.init are both set",
    ),
    "a folder of the image that is relative": (
        {"bundle": {"path": "cells"}},
        "bundle.path is cells: it must be a folder of the image that begins with /",
    ),
    "a folder outside the volume": (
        {"bundle": {"path": "/cells", "volume": {"emptyDir": {}}}},
        "bundle.path is /cells: it must be relative to the volume",
    ),
    "a GPU for the packaged bundle": (
        {"gpu": {"enabled": True}},
        "gpu.enabled needs bundle.volume, bundle.init or bundle.path",
    ),
    "KEDA without a Prometheus": (
        {"autoscaling": {"kind": "keda"}},
        "autoscaling.prometheus is needed by keda",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_an_error_that_names_it(values, sentence):
    assert sentence in refusal(values)


def test_every_value_is_in_the_schema_and_has_a_default():
    schema = json.loads(SCHEMA.read_text())

    def compare(values, schema, path):
        if schema.get("additionalProperties") is False and path != "settings":
            names = set(schema["properties"]) - {"global"}
            # What a map holds besides is the user's.
            assert set(values) <= names, path
            if path not in ("resources", "strategy"):
                assert set(values) == names, path
            for name in values:
                if isinstance(values[name], dict):
                    compare(values[name], schema["properties"][name], name)

    compare(VALUES, schema, "")
