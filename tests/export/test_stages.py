"""Differences of inner values, told so that none can hide."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from export.figures import Figure, first_past
from export.stages import Departure, Stages, share_of, stages_in, told


def test_departure_is_the_worst_and_the_mean_over_pictures() -> None:
    part = Departure()
    part.add(np.float32([0, 2]), np.float32([0, 3]))
    part.add(np.float32([0, 4]), np.float32([0, 4]))
    assert (part.worst, part.mean, part.spread) == (1.0, 0.25, 2.0)


def test_what_storing_a_value_moves_it_by_counts_for_nothing() -> None:
    part = Departure(rounding=2**-10)
    part.add(np.float32([-4, -4.5]), np.float32([-4.00390625, -4.5]))
    assert part.worst == 0.0
    part.add(np.float32([-4, -4.5]), np.float32([-4.0078125, -4.5]))
    assert part.worst == 0.00390625


@pytest.mark.parametrize("order", [(1.0, math.nan), (math.nan, 1.0)])
@pytest.mark.parametrize("rounding", [0.0, 2**-11])
def test_nan_is_never_forgotten(order: tuple[float, float], rounding: float) -> None:
    part = Departure(rounding)
    for value in order:
        part.add(np.float32([0, 1]), np.float32([0, value]))
    assert math.isnan(part.worst)
    assert not Figure("logits P3", "worst", part.worst, 1e9).within


def test_value_that_should_not_vary_must_be_equal() -> None:
    assert share_of(0.0, 0.0) == 0
    assert share_of(0.1, 0.0) == math.inf
    assert share_of(0.1, 0.2) == 0.5


def test_graph_without_named_stages_is_told_from_one_with_them() -> None:
    def graph(name: str) -> onnx.ModelProto:
        node = onnx.helper.make_node("Identity", ["x"], [name])
        shape = (onnx.TensorProto.FLOAT, [1])
        value = onnx.helper.make_tensor_value_info
        parts = onnx.helper.make_graph([node], "g", [value("x", *shape)], [value(name, *shape)])
        return onnx.helper.make_model(parts)

    assert stages_in(graph("deltas_p4")) == ("deltas_p4",)
    assert stages_in(graph("other")) == ()
    assert Stages(graph("other").SerializeToString()).names == ()


def test_first_stage_past_its_bound_is_named() -> None:
    figures = [
        Figure("logits P3", "worst_of_spread", 1e-6, 1e-3),
        Figure("deltas P3", "worst_of_spread", 0.5, 1e-3),
        Figure("detections", "worst_box_px", 7.0, 0.05),
    ]
    past = first_past(figures)
    assert past is not None
    assert str(past) == "worst_of_spread of the deltas P3 is 0.5, the bound is 0.001"
    assert first_past(figures[:1]) is None


def test_lower_bound_is_told_apart_from_an_upper_one() -> None:
    assert Figure("detections", "mean_iou", 0.9, 0.8, least=True).within
    assert not Figure("detections", "mean_iou", 0.7, 0.8, least=True).within


def test_stage_is_written_for_people() -> None:
    assert [told("logits_p3"), told("deltas_p7")] == ["logits P3", "deltas P7"]
