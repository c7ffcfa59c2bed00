"""Which groups of a graph go back to float, so that its AP holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import onnx

from export.sensitivity import Change

LEAST_SAVING = 0.01
"""A share of the time below which no two groups are told apart: it would be lost in any run."""


class PartlyQuantized(Protocol):
    """The part of `export.quantize.Quantizer` that this needs."""

    def graph(self, groups: Sequence[str]) -> onnx.ModelProto:
        """The graph with these groups in 8 bits."""


class Step(NamedTuple):
    """A graph that was tried: the groups in float, what it changes, and its loss of AP."""

    in_float: tuple[str, ...]
    change: Change
    drop: float


class Search(NamedTuple):
    """The graphs tried, in order; `in_8_bits`: the last one's groups if it holds, else None."""

    steps: list[Step]
    in_8_bits: tuple[str, ...] | None


def search(
    quantizer: PartlyQuantized,
    groups: Sequence[str],
    judged: Callable[[onnx.ModelProto], Change],
    reference_ap: float | None,
    max_drop: float,
    say: Callable[[str], None],
) -> Search:
    """Gives groups back to float, in the order of `groups`, until the AP drops by `max_drop` at
    most; the last one stays in 8 bits.
    """
    steps: list[Step] = []
    for count in range(len(groups)):
        in_8_bits = tuple(groups[count:])
        change = judged(quantizer.graph(in_8_bits))
        drop = (reference_ap or 0.0) - (change.ap or 0.0)
        steps.append(Step(tuple(groups[:count]), change, drop))
        say(f"{count} of {len(groups)} groups in float: AP drops by {drop:.4f}")
        if drop <= max_drop:
            return Search(steps, in_8_bits)
    return Search(steps, None)


def by_loss_per_saving(changes: Mapping[str, Change], savings: Mapping[str, float]) -> list[str]:
    """Groups in the order in which they should go back to float: most loss for least time first."""

    def worth(group: str) -> float:
        return changes[group].loss / max(savings[group], LEAST_SAVING)

    return sorted(changes, key=worth, reverse=True)
