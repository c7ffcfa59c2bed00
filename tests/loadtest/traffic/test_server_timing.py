from __future__ import annotations

import pytest
from multidict import CIMultiDict

from loadtest.traffic.server_timing import batch_of, stages_of, timing_of


def test_stages_are_read_leniently() -> None:
    assert stages_of("") == {}
    assert stages_of('miss, db;dur=53, app;desc="x";dur=47.2, bad;dur=soon') == {
        "db": 53.0,
        "app": 47.2,
    }


@pytest.mark.parametrize(
    ("header", "stages"),
    [
        ('a;desc="slow, not fast";dur=5, b;dur=1', {"a": 5.0, "b": 1.0}),
        ('a;desc="x;dur=9";dur=5', {"a": 5.0}),
        ('a;dur="5"', {"a": 5.0}),
        ("a;dur=nan, b;dur=inf, c;dur=-1, d;dur=2", {"d": 2.0}),
        ("a; dur = 5", {"a": 5.0}),
    ],
)
def test_odd_forms(header: str, stages: dict[str, float]) -> None:
    assert stages_of(header) == stages


def test_several_headers_are_one() -> None:
    headers = CIMultiDict([("server-timing", "queue;dur=1"), ("Server-Timing", "inference;dur=2")])
    assert timing_of(headers) == ({"queue": 1.0, "inference": 2.0}, None)


@pytest.mark.parametrize(
    ("header", "batch"),
    [
        ('queue;dur=0.2, inference;dur=41;desc="batch of 3", postprocess;dur=1', 3),
        ('inference;desc="batch of 12"', 12),
        ('queue;desc="batch of 3", inference;dur=41', None),
        ("inference;dur=41", None),
        ("", None),
    ],
)
def test_batch_is_that_of_the_inference(header: str, batch: int | None) -> None:
    assert batch_of(header) == batch


def test_timing_of_an_answer_without_the_header_is_nothing() -> None:
    assert timing_of({}) == ({}, None)
    assert timing_of({"Server-Timing": 'inference;dur=2;desc="batch of 2"'}) == (
        {"inference": 2.0},
        2,
    )
