"""The settings part of the chart's schema: python -m tests.deploy.settings_schema writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.settings import Settings

SCHEMA = Path(__file__).parents[2] / "deploy" / "chart" / "retinaserve" / "values.schema.json"

THE_CHARTS_OWN = {"bundle", "host", "port", "admin_host", "admin_port", "api_key", "device"}
"""Settings that follow from other values of the chart."""

MIN_DRAIN_DELAY_S = 2
"""Two readiness probes have to fail while the server still serves, and none comes oftener than each
second."""


def settings_schema() -> dict[str, Any]:
    """What `settings` of the chart's values may be, by the server's own bounds."""
    properties = {
        name: _given(field)
        for name, field in Settings.model_json_schema()["properties"].items()
        if name not in THE_CHARTS_OWN
    }
    properties["drain_delay_s"]["minimum"] = MIN_DRAIN_DELAY_S
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["drain_delay_s", "drain_timeout_s", "engine_timeout_s"],
        "properties": properties,
    }


def _given(field: dict[str, Any]) -> dict[str, Any]:
    """A field where it is given: not None, which in a chart's values is to leave it out."""
    (field,) = [one for one in field.get("anyOf", [field]) if one != {"type": "null"}]
    return {key: value for key, value in field.items() if key not in ("title", "default")}


if __name__ == "__main__":
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = settings_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")
