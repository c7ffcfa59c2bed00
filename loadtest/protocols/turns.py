"""Who takes turns: several servers, and several kinds of bodies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

CYCLE = 997
"""Turns until a mix repeats: a prime, so that it keeps step with no number of pictures."""


def server_of(number: int, count: int) -> int:
    """Which of `count` servers the call with this number goes to.

    Each has one call in every round of `count`. Who begins changes from round to round as in the
    Thue-Morse sequence: pictures take turns as well, and in plain turns of two servers and eight
    pictures each server would see only its own four.
    """
    turn, place = divmod(number, count)
    return (place + turn.bit_count()) % count


def mixed(weights: Mapping[T, float]) -> Sequence[T]:
    """`CYCLE` choices by their weights, always the same."""
    return random.Random(0).choices(list(weights), list(weights.values()), k=CYCLE)
