"""Reading recipes: TOML files, their `base`, and changes from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.errors import InputError
from model.recipe import Recipe

BUNDLED = Path(__file__).parent / "recipes"
"""The recipes that come with the package."""


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with `key.subkey=value` overrides (values written as in TOML).

    A path that leads nowhere may name a recipe of this package: paper/1b-gamma-2.0.

    `base = "other.toml"`, relative to the file, takes everything from there that the file doesn't
    say itself: sections are merged key by key, lists and values replaced.
    Raises InputError that names an unknown or wrong key and what is accepted.
    """
    bundled = BUNDLED / f"{path}.toml"
    raw = _read(bundled if bundled.is_file() and not path.exists() else path, ())
    for text in overrides:
        _override(raw, text)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: dict[str, Any], where: str) -> Recipe:
    """The recipe of a parsed TOML table; InputError names the key at fault."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The parsed table of a file, merged over that of its base."""
    if path.resolve() in seen:
        raise InputError(f"{path}: its `base` leads back to itself")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    base = raw.pop("base", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise InputError(f"{path}: base {base!r}: give the name of another recipe file")
    return _merged(_read(path.parent / base, (*seen, path.resolve())), raw)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        lower = both.get(key)
        if isinstance(lower, dict) and isinstance(value, dict):
            value = _merged(lower, value)
        both[key] = value
    return both


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text!r}: write KEY=VALUE, for example train.steps=1000")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    node: Any = raw
    *parents, last = key.strip().split(".")
    for part in parents:
        if isinstance(node, list):
            node = node[_place(node, part, text)]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"--set {text!r}: {part} is a value, not a section")
    node[_place(node, last, text) if isinstance(node, list) else last] = parsed


def _place(entries: list[Any], part: str, text: str) -> int:
    if not part.isdecimal() or int(part) >= len(entries):
        raise InputError(f"--set {text!r}: {part} is not one of the places 0..{len(entries) - 1}")
    return int(part)


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    tags = {"coco", "voc", "drawn"}
    where = ".".join(str(part) for part in first["loc"] if part not in tags)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        accepted = _keys_at(first["loc"][:-1])
        return f"unknown key {where}" + (
            f"; accepted are {', '.join(accepted)}" if accepted else ""
        )
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a recipe accepts at a place, read from the recipe's own JSON schema."""
    schema = Recipe.model_json_schema()
    definitions = schema["$defs"]

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
        return node

    node = schema
    for part in location:
        if isinstance(part, int):
            node = resolved(node.get("items", {}))
        elif "discriminator" in node:
            node = resolved({"$ref": node["discriminator"]["mapping"].get(part, "")})
        else:
            node = resolved(node.get("properties", {}).get(part, {}))
            # An optional section is "it or null".
            options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
            node = resolved(options[0]) if options else node
    return sorted(node.get("properties", {}))
