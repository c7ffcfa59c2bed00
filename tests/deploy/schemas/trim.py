"""The schema of a custom resource as the tests use it.

    python tests/deploy/schemas/trim.py CRD.yaml VERSION [PATH...] >NAME.json

leaves out descriptions, and each PATH: fields that we don't use, as `spec.predictor.triton`. A
field that it does not know is an error, as it is to `kubectl apply`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

UNKNOWN_ALLOWED = "x-kubernetes-preserve-unknown-fields"


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without prose, which refuses unknown fields."""
    kept = {
        key: value
        for key, value in schema.items()
        if key not in ("description", "properties", "items", "additionalProperties")
        and not key.startswith("x-kubernetes")
    }
    if "pattern" in kept:
        # Go takes flags after the anchor, Python does not.
        kept["pattern"] = kept["pattern"].replace("^(?i)", "(?i)^")
    if "properties" in schema:
        kept["properties"] = {name: strict(one) for name, one in schema["properties"].items()}
        kept["additionalProperties"] = bool(schema.get(UNKNOWN_ALLOWED))
    if isinstance(items := schema.get("items"), dict):
        kept["items"] = strict(items)
    if isinstance(values := schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(values)
    return kept


def without(schema: dict[str, Any], path: str) -> None:
    """Takes a field out of a schema."""
    *parents, last = path.split(".")
    for name in parents:
        schema = schema["properties"][name]
    del schema["properties"][last]


if __name__ == "__main__":
    file, version, *paths = sys.argv[1:]
    crd = yaml.safe_load(Path(file).read_text())
    (found,) = [one for one in crd["spec"]["versions"] if one["name"] == version]
    trimmed = strict(found["schema"]["openAPIV3Schema"])
    trimmed["properties"]["metadata"] = {"type": "object"}
    for path in paths:
        without(trimmed, path)
    json.dump(trimmed, sys.stdout, separators=(",", ":"), sort_keys=True)
    print()  # noqa: T201
