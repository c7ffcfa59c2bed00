"""A study as a JSON file, and back: what a report is made of and what runs are compared by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from loadtest.traffic.sample import Sample
from loadtest.traffic.trial import Study
from model.errors import InputError
from model.files import whole_file

FORMAT = 1

DIGITS = 6
"""Of seconds: microseconds."""

MAPPINGS = ("stages",)
"""Fields of a sample that are columns by name themselves."""


def write_study(path: Path, study: Study) -> None:
    """Writes a study, whole or not at all."""
    document = {"format": FORMAT, **_adapter().dump_python(study, mode="json", exclude=_SAMPLES)}
    for trial, written in zip(study.trials, document["trials"], strict=True):
        written["count"] = len(trial.samples)
        written["samples"] = _columns(trial.samples)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_study(path: Path) -> Study:
    """The study in a file; InputError says in a sentence what is wrong with it."""
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError:
        raise InputError(
            f"{path}: not a whole JSON file; accepted is what `retinaserve loadtest --json` wrote"
        ) from None
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: "
            + (
                "no study of `retinaserve loadtest`"
                if found is None
                else f"format {found!r}; this version reads format {FORMAT}"
            )
        )
    try:
        return _study_of(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: its parts don't fit together ({error})") from None


_SAMPLES: Any = {"trials": {"__all__": {"samples"}}}
"""What pydantic leaves to `_columns`."""


@cache
def _adapter() -> TypeAdapter[Study]:
    return TypeAdapter(Study)


def _study_of(raw: dict[str, Any]) -> Study:
    del raw["format"]
    for trial in raw["trials"]:
        trial["samples"] = _rows(trial["samples"], trial.pop("count"))
    return _adapter().validate_python(raw)


def _columns(samples: Sequence[Sample]) -> dict[str, Any]:
    """A list for each field; where all samples have the same, that alone."""
    columns: dict[str, Any] = {}
    for field in fields(Sample):
        values = [getattr(sample, field.name) for sample in samples]
        if field.name in MAPPINGS:
            names = dict.fromkeys(name for value in values for name in value)
            columns[field.name] = {
                name: _packed([value.get(name) for value in values]) for name in names
            }
        else:
            columns[field.name] = _packed(values)
    return columns


def _packed(values: Sequence[Any]) -> Any:
    rounded = [round(value, DIGITS) if isinstance(value, float) else value for value in values]
    return rounded[0] if rounded and rounded.count(rounded[0]) == len(rounded) else rounded


def _rows(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The inverse of `_columns`; ValueError where a column has another length."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, column in columns.items():
        if name in MAPPINGS:
            for row in rows:
                row[name] = {}
            for key, inner in column.items():
                for row, value in zip(rows, _unpacked(inner, count), strict=True):
                    if value is not None:
                        row[name][key] = value
        else:
            for row, value in zip(rows, _unpacked(column, count), strict=True):
                row[name] = value
    return rows


def _unpacked(column: Any, count: int) -> Sequence[Any]:
    return column if isinstance(column, list) else [column] * count
