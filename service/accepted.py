"""What is wrong with input and what is accepted, in words: by the field, not by pydantic's message.

A message of pydantic's tells of the one rule that was broken, and may name a class. The field's
JSON schema holds all its rules, so that every kind of error has the same sentence.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

SHOWN_CHARACTERS = 64
"""Of a name or a value that came from outside."""

_KINDS = {
    "boolean": "true and false",
    "integer": "whole numbers",
    "number": "numbers",
    "string": "texts in UTF-8",
    "array": "lists",
    "object": "objects",
}


class Fault(NamedTuple):
    """The first thing that a model refused."""

    name: str
    """The field's, dotted and shortened; empty where the whole input is of a wrong kind."""
    unknown: bool
    """Whether the model has no such field."""
    found: str
    """What was given: "is '0'", "is a list", "is missing" or "is not known"."""
    accepted: str
    """What would have been: "accepted are whole numbers from 1"."""


def fault_of(error: ValidationError, model: type[BaseModel]) -> Fault:
    """What `error` is about, in the words of the field of `model` that it names.

    What type and bounds do not say is taken from the field's description, behind its last colon:
    the form of a text that has a pattern, and the bounds of a whole number that has none.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    where = first["loc"]
    name = ".".join(str(part)[:SHOWN_CHARACTERS] for part in where)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_field(model, where[:-1])["properties"])
        return Fault(name, True, "is not known", f"accepted are {known}")
    found = "missing" if first["type"] == "missing" else _shown(first["input"])
    return Fault(name, False, f"is {found}", f"accepted are {_words(_field(model, where))}")


def _shown(value: object) -> str:
    """A value, shortened; a list or an object by its kind alone, since it may hold a picture."""
    match value:
        case str():
            return repr(value[:SHOWN_CHARACTERS])
        case list():
            return "a list"
        case dict():
            return "an object"
        case None | bool():
            return json.dumps(value)
    return str(value)[:SHOWN_CHARACTERS]


def _words(schema: dict[str, Any]) -> str:
    """What a schema accepts: "whole numbers from 1 to 60000"."""
    form: str = schema.get("description", "").rpartition(": ")[2].rstrip(".")
    match schema:
        case {"enum": values}:
            return ", ".join(map(str, values))
        case {"pattern": _}:
            return form
        case {"type": "array", "items": items}:
            return f"lists of {_words(items)}"
        case {"type": "object", "required": names}:
            return f"objects with {', '.join(names)}"
        case {"type": "number"} if "maximum" not in schema:
            return f"finite numbers{_bounds(schema)}"
        case {"type": "integer" | "number" as kind}:
            bounds = _bounds(schema) or (form and f", {form}")
            return f"{_KINDS[kind]}{bounds}"
    return _KINDS[schema["type"]]


def _bounds(schema: dict[str, Any]) -> str:
    """The bounds of a number, each with the space before it."""
    said = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "to below",
    }
    return "".join(f" {word} {schema[key]:.15g}" for key, word in said.items() if key in schema)


def _field(model: type[BaseModel], where: tuple[int | str, ...]) -> dict[str, Any]:
    """The schema of the field at `where`, of what it may be beside null."""
    whole = _schema(model)

    def plain(schema: dict[str, Any]) -> dict[str, Any]:
        (kind,) = (one for one in schema.get("anyOf", [schema]) if one != {"type": "null"})
        merged: dict[str, Any] = schema | kind
        name = merged.get("$ref", "").rpartition("/")[2]
        merged |= whole["$defs"][name] if name else {}
        if "items" in merged:
            merged["items"] = plain(merged["items"])
        return merged

    schema = whole
    for part in where:
        schema = plain(schema["items"] if isinstance(part, int) else schema["properties"][part])
    return schema


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    # Once: it takes 3 to 13 ms of the event loop, which every bad request would cost.
    schema: dict[str, Any] = model.model_json_schema()
    return schema
