from __future__ import annotations

from collections import Counter
from itertools import islice

from loadtest.speed.mix import mixed

URL = "http://server/v1/detect"


def test_mix_has_its_shares_and_is_the_same_for_a_seed() -> None:
    turns = list(islice(mixed(URL, [320, 480], 5), 2000))
    kinds = Counter(turn.kind for turn in turns)
    assert 1520 < kinds["good"] < 1680
    assert 140 < kinds["bad"] < 260
    assert kinds.total() == 2000
    assert {turn.call.url for turn in turns if turn.kind == "good"} == {
        URL, f"{URL}?scale=320", f"{URL}?scale=480",
    }  # fmt: skip
    assert all((turn.leaves_s is not None) == (turn.kind == "leaving") for turn in turns)
    again = list(islice(mixed(URL, [320, 480], 5), 2000))
    assert [(a.kind, a.call.url) for a in again] == [(t.kind, t.call.url) for t in turns]
