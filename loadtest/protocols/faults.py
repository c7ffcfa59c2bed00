"""What is wrong with a JSON answer, in words to count by."""

from __future__ import annotations

from pydantic import ValidationError


def fault_of(error: ValidationError) -> str:
    """The first thing that is wrong, without where in a list it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "not JSON"
    where = ".".join(part for part in first["loc"] if isinstance(part, str))
    return f"{where}: {first['msg']}" if where else first["msg"]
