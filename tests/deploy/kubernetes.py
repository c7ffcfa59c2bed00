"""The chart as Helm renders it, and whether Kubernetes would take a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "chart" / "retinaserve"
EXAMPLES = DEPLOY / "chart" / "examples"
SCHEMAS = Path(__file__).parent / "schemas"

VERSIONS = ("1.30", "1.37")
"""The oldest Kubernetes that the chart says it takes, and the newest with a schema here."""

Manifest = dict[str, Any]


def example(name: str) -> dict[str, Any]:
    """The values of an example."""
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return found


def render(values: dict[str, Any] | None = None, name: str = "cells") -> list[Manifest]:
    """What `helm template NAME --namespace vision --values ...` has, by Helm's own library.

    Raises `helm_python.HelmError`: values that the schema or a template refuses.
    """
    text = rendered(values, name)
    files = [one for file, one in sorted(text.items()) if file.endswith(".yaml")]
    return [one for file in files for one in yaml.safe_load_all(file) if one]


def helm() -> ModuleType:
    """helm-python-sdk; skips the test where it has no wheel: it has one for Linux on x86-64."""
    found: ModuleType = pytest.importorskip("helm_python")
    return found


def rendered(values: dict[str, Any] | None = None, name: str = "cells") -> dict[str, str]:
    """The text of each template."""
    with helm().Chart.load(CHART) as chart:
        found: dict[str, str] = chart.render(values or {}, name=name, namespace="vision")
    return found


def the(kind: str, manifests: Sequence[Manifest], name: str | None = None) -> Manifest:
    """The one manifest of that kind, and of that name."""
    (found,) = [
        one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    return found


def pod(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The pod of the Deployment."""
    spec: dict[str, Any] = the("Deployment", manifests)["spec"]["template"]["spec"]
    return spec


def server(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The container that serves."""
    (container,) = pod(manifests)["containers"]
    found: dict[str, Any] = container
    return found


def variables(container: dict[str, Any]) -> dict[str, Any]:
    """The environment of a container: values, and where others are taken from."""
    names = [one["name"] for one in container.get("env", [])]
    assert len(names) == len(set(names)), names
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def check(manifest: Manifest) -> None:
    """Fails unless Kubernetes, or whoever owns the kind, would take it, with no field unknown."""
    own = SCHEMAS / f"{manifest['kind']}.json"
    if own.is_file():
        jsonschema.validate(manifest, json.loads(own.read_text()))
    else:
        for version in VERSIONS:
            assert kubernetes_validate.validate(manifest, version, strict=True) == version
    spec = manifest.get("spec", {})
    template = spec.get("template", {}).get("spec")
    if template or manifest["kind"] == "Pod":
        _check_mounts(template or spec)


def _check_mounts(spec: dict[str, Any]) -> None:
    """Every mount is of a volume, and every volume is mounted."""
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    mounted = {mount["name"] for one in containers for mount in one.get("volumeMounts", [])}
    assert mounted == {volume["name"] for volume in spec.get("volumes", [])}


def seconds_until_seen(probe: dict[str, Any]) -> int:
    """How long a probe takes at most to have failed, where answers come at once."""
    seconds: int = probe["periodSeconds"] * probe["failureThreshold"]
    return seconds


@cache
def quantity(text: str) -> float:
    """What a quantity of Kubernetes is, in bytes or cores."""
    units = {"Mi": 2**20, "Gi": 2**30, "m": 1e-3}
    for unit, factor in units.items():
        if str(text).endswith(unit):
            return float(str(text).removesuffix(unit)) * factor
    return float(text)
