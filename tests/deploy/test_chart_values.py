"""What the chart's values mean to the server, and which are refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from export.cli import build
from service.settings import PREFIX, Settings, read_settings
from tests.deploy.kubernetes import CHART, example, helm, pod, render, server, the, variables
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
    with pytest.raises(helm().HelmError) as caught:
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


def test_a_server_can_listen_on_ipv6_and_is_probed_at_the_pods_address(monkeypatch):
    values = {"host": "::", "admin": {"enabled": True, "service": True}}
    settings = settings_of(values, monkeypatch)
    assert (settings.host, settings.admin_host) == ("::", "::")
    probes = [
        [value for key, value in server(render(one)).items() if key.endswith("Probe")]
        for one in (values, {})
    ]
    assert probes[0] == probes[1]
    assert len(probes[0]) == 3
    assert all("host" not in probe["httpGet"] for probe in probes[0])


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
    "a rollout that can replace no pod": (
        {"strategy": {"rollingUpdate": {"maxSurge": 0}}},
        "strategy.rollingUpdate has maxSurge 0 and maxUnavailable 0: no pod could ever be replaced",
    ),
    "a rollout that can replace no part of the pods": (
        {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}},
        "strategy.rollingUpdate has maxSurge 0 and maxUnavailable 0: no pod could ever be replaced",
    ),
    "a rollout that ends more than all pods": (
        {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
        "at '/strategy/rollingUpdate/maxUnavailable'",
    ),
    "a budget of more than all pods": (
        {"podDisruptionBudget": {"maxUnavailable": "101%"}},
        "at '/podDisruptionBudget/maxUnavailable'",
    ),
    "fewest pods above most": (
        {"autoscaling": {"kind": "hpa", "minReplicas": 9}},
        "autoscaling.minReplicas is 9, and maxReplicas only 8",
    ),
    "the name that selects the pods": (
        {"podLabels": {"app.kubernetes.io/name": "detector"}},
        "podLabels has app.kubernetes.io/name: the chart sets it, and services find the pods by it",
    ),
    "the instance that selects the pods": (
        {"podLabels": {"app.kubernetes.io/instance": "detector"}},
        "podLabels has app.kubernetes.io/instance: the chart sets it",
    ),
    "a variable that the chart sets": (
        {"env": [{"name": "A", "value": "1"}, {"name": "RETINASERVE_PORT", "value": "9"}]},
        "env has RETINASERVE_PORT: the server's settings have their place in settings, by the "
        "names without RETINASERVE_; those that settings refuses follow from other values",
    ),
    "a setting as a variable, in small letters": (
        {"env": [{"name": "retinaserve_log_level", "value": "debug"}]},
        "env has retinaserve_log_level: the server's settings have their place in settings",
    ),
    "a folder above the volume": (
        {"bundle": {"path": "../etc", "volume": {"emptyDir": {}}}},
        "bundle.path is ../etc: it leads out of the volume, or of what bundle.init leaves",
    ),
    "a folder beside the volume": (
        {"bundle": {"path": "a/../../bundles", "init": {"image": "i"}}},
        "bundle.path is a/../../bundles: it leads out of the volume",
    ),
    "an admin port for the whole cluster": (
        {"admin": {"enabled": True, "service": True}, "networkPolicy": {"enabled": False}},
        "admin.service needs networkPolicy.enabled or apiKeySecret.name",
    ),
    "one address to listen on": ({"host": "127.0.0.1"}, "at '/host'"),
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
