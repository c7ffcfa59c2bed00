from __future__ import annotations

from collections import Counter

import pytest

from loadtest.protocols.turns import CYCLE, mixed, server_of


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_server_has_one_call_in_each_round(count: int) -> None:
    turns = [server_of(number, count) for number in range(20 * count)]
    rounds = [turns[at : at + count] for at in range(0, len(turns), count)]
    assert all(sorted(turn) == list(range(count)) for turn in rounds)


def test_every_server_sees_every_picture_alike() -> None:
    # Plain turns would send the pictures of even number to the first server alone.
    seen = Counter((number % 8, server_of(number, 2)) for number in range(8 * 64))
    assert set(seen.values()) == {32}
    assert len(seen) == 16


def test_kinds_come_by_their_weights_and_in_step_with_no_number_of_pictures() -> None:
    kinds = mixed({"raw": 3.0, "json": 1.0})
    assert len(kinds) == CYCLE
    assert kinds.count("json") / CYCLE == pytest.approx(0.25, abs=0.05)
    of_first = Counter(kinds[number % CYCLE] for number in range(0, 8 * CYCLE, 8))
    assert of_first == Counter(kinds)
