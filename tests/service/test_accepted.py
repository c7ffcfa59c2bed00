"""What is wrong with input, in words of ours: nothing of pydantic's comes through."""

from __future__ import annotations

import copy
import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import InputError
from service.accepted import Fault, fault_of
from service.errors import Malformed
from service.oip.document import InferDocument, infer_document
from service.options import DetectQuery
from service.settings import Settings, read_settings


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=1)]
    note: str = ""


class Whole(BaseModel):
    share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    below: Annotated[int, Field(ge=1, lt=2_000_000)] = 1
    side: Annotated[int | None, Field(description="How wide it is: one of the known.")] = None
    count: int = 0
    open: bool = False
    kind: Literal["a", "b"] = "a"
    sides: Annotated[str, Field(pattern="^[0-9,]+$", description="Them: whole, as 3,4.")] = "1"
    part: Part = Part(size=1)
    parts: list[Part] = []


def fault(**given: Any) -> Fault:
    with pytest.raises(ValidationError) as refused:
        Whole.model_validate(given)
    return fault_of(refused.value, Whole)


@pytest.mark.parametrize(
    ("name", "given", "accepted"),
    [
        ("share", 0.6, "numbers from 0 to 0.5"),
        ("share", "x", "numbers from 0 to 0.5"),
        ("rate", 0, "finite numbers above 0"),
        ("rate", float("inf"), "finite numbers above 0"),
        ("below", 0, "whole numbers from 1 to below 2000000"),
        ("below", 2_000_000, "whole numbers from 1 to below 2000000"),
        ("side", 1.5, "whole numbers, one of the known"),
        ("count", 1.5, "whole numbers"),
        ("open", "x", "true and false"),
        ("kind", "c", "a, b"),
        ("sides", "x", "whole, as 3,4"),
        ("part", 3, "objects with size"),
        ("parts", 3, "lists of objects with size"),
    ],
)
def test_the_field_says_what_is_accepted_whatever_was_wrong(name, given, accepted):
    assert fault(**{name: given})[::3] == (name, f"accepted are {accepted}")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("x" * 100, f"is '{'x' * 64}'"),
        (10**99, f"is 1{'0' * 63}"),
        (-0.5, "is -0.5"),
        (None, "is null"),
        ([1, 2], "is a list"),
        ({"image": "secret"}, "is an object"),
    ],
)
def test_what_was_given_is_told_shortened(given, found):
    assert fault(below=given).found == found


def test_a_place_within_lists_is_told_and_what_is_missing_there():
    assert fault(parts=[{"size": 1}, {}]) == (
        "parts.1.size",
        False,
        "is missing",
        "accepted are whole numbers from 1",
    )


def test_an_unknown_name_is_shortened_and_the_known_ones_are_told():
    assert fault(part={"size": 1, "n" * 100: 1}) == (
        f"part.{'n' * 64}",
        True,
        "is not known",
        "accepted are size, note",
    )


def assert_ours(detail: str) -> None:
    schemas = [model.model_json_schema() for model in (DetectQuery, InferDocument, Settings)]
    classes = {schema["title"] for schema in schemas}
    classes |= {name for schema in schemas for name in schema.get("$defs", {})}
    for foreign in ("should", "valid", "unable", "required", "permitted", "got ", "\n", *classes):
        assert foreign not in detail
    _, _, accepted = detail.partition("accepted are ")
    assert accepted


TEXTS = ("", "x", "-1", "1.5", "nan", "inf", "9" * 40)
VALUES = (None, True, "x", "\ud800", -1, 1.5, float("nan"), 10**40, [], [None], {}, {"x": 1})
FREE_TEXT = {"bundle", "host", "admin_host", "device", "api_key", "forwarded_allow_ips", "classes"}


@pytest.mark.parametrize("name", [*DetectQuery.model_fields, "x"])
def test_every_parameter_of_the_query_is_refused_in_our_words(name):
    told = []
    for text in TEXTS:
        try:
            DetectQuery.parse({name: text})
        except Malformed as problem:
            told.append(problem.detail)
            assert_ours(problem.detail)
    assert bool(told) is (name not in FREE_TEXT)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_refused_in_our_words(monkeypatch, name):
    told = []
    for text in TEXTS:
        monkeypatch.setenv(f"RETINASERVE_{name.upper()}", text)
        try:
            read_settings()
        except InputError as error:
            told.append(str(error))
            assert_ours(str(error))
    assert bool(told) is (name not in FREE_TEXT)


DOCUMENT = {
    "id": "1",
    "parameters": {
        "binary_data_output": False, "timeout": 1, "score_threshold": 0, "iou_threshold": 0,
        "max_detections": 1, "scale": 1,
    },
    "inputs": [
        {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 1}}
    ],
    "outputs": [{"name": "boxes", "parameters": {"binary_data": True}}],
}  # fmt: skip


def places(value: Any, *where: str | int) -> list[tuple[str | int, ...]]:
    """Of a value and of all that is in it."""
    inner: Any = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [where, *(place for key, part in inner for place in places(part, *where, key))]


def changed(where: tuple[str | int, ...], value: Any) -> Any:
    """The document with a value at a place, or without that place for ...."""
    holder: Any = [copy.deepcopy(DOCUMENT)]
    at = holder
    *path, last = (0, *where)
    for key in path:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return holder[0] if holder else None


@pytest.mark.parametrize("where", places(DOCUMENT))
def test_every_member_of_an_inference_request_is_refused_in_our_words(where):
    told = []
    for value in (*VALUES, ...):
        document = changed(where, value)
        try:
            infer_document(json.dumps(document).encode())
        except Malformed as problem:
            told.append(problem.detail)
            assert_ours(problem.detail)
    assert told
