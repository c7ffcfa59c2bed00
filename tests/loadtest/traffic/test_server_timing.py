from __future__ import annotations

import pytest

from loadtest.traffic.server_timing import batch_of, stages_of, timing_of


def test_stages_are_read_leniently() -> None:
    assert stages_of("") == {}
    assert stages_of('miss, db;dur=53, app;desc="x";dur=47.2, bad;dur=soon') == {
        "db": 53.0,
        "app": 47.2,
    }


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
