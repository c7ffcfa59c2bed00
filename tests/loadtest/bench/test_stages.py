from __future__ import annotations

import pytest

from loadtest.bench.stages import shares_of


def test_shares_are_of_the_sum() -> None:
    assert shares_of({"trunk": 3.0, "nms": 1.0}) == pytest.approx({"trunk": 0.75, "nms": 0.25})


def test_shares_of_nothing_are_nothing() -> None:
    assert shares_of({"trunk": 0.0, "nms": 0.0}) == {"trunk": 0.0, "nms": 0.0}
