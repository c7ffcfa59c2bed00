"""The search for the groups that stay in float, without graphs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest

from export.keep_in_float import Search, by_loss_per_saving, search
from export.sensitivity import Change


class FakeQuantizer:
    def graph(self, groups: Sequence[str]) -> onnx.ModelProto:
        return onnx.ModelProto(producer_name=" ".join(groups))


AP = {"a b c": 0.50, "b c": 0.52, "c": 0.58}
"""By the groups in 8 bits."""


def searched(max_drop: float) -> Search:
    def judged(graph: onnx.ModelProto) -> Change:
        return Change(0.01, 0.02, AP[graph.producer_name])

    return search(FakeQuantizer(), ["a", "b", "c"], judged, 0.6, max_drop, lambda _: None)


@pytest.mark.parametrize(
    ("max_drop", "in_8_bits"), [(0.1, ("a", "b", "c")), (0.08, ("b", "c")), (0.05, ("c",))]
)
def test_groups_go_back_to_float_until_the_ap_holds(
    max_drop: float, in_8_bits: tuple[str, ...]
) -> None:
    found = searched(max_drop)
    assert found.in_8_bits == in_8_bits
    assert len(found.steps) == 4 - len(in_8_bits)
    assert found.steps[0].in_float == ()
    assert found.steps[0].drop == pytest.approx(0.1)


def test_one_group_in_8_bits_is_the_least_that_is_tried() -> None:
    found = searched(0.01)
    assert found.in_8_bits is None
    assert [step.in_float for step in found.steps] == [(), ("a",), ("a", "b")]


def test_most_loss_for_least_time_goes_first() -> None:
    changes = {
        "cheap": Change(0.001, 0.001, 0.5),
        "dear": Change(0.002, 0.002, 0.5),
        "harmless": Change(0.0, 0.0, 0.5),
        "free": Change(0.0005, 0.0005, 0.5),  # of next to no time: still half as bad as "cheap"
    }
    savings = {"cheap": 0.01, "dear": 0.4, "harmless": 0.01, "free": 0.0}
    assert by_loss_per_saving(changes, savings) == ["cheap", "free", "dear", "harmless"]
