"""Biases that make up for rounded weights."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.bias import mean_shifts, with_corrected_biases
from export.plain_session import session_of
from export.qdq import with_qdq
from export.trunk import Trunk
from tests.export.small_graphs import RESNET, graph_of, some_images


def test_shift_is_the_weights_error_times_the_mean_input() -> None:
    graph = graph_of(RESNET)
    quantized = with_qdq(graph, ["second"], {"pool": 1.0}, "int8")
    held = {entry.name: entry for entry in graph.graph.initializer}
    before = numpy_helper.to_array(held["w1"])
    # A weight that is off by .5 from input channel 3 to output channel 7, and no other error.
    for entry in quantized.graph.initializer:
        if entry.name == "w1/q":
            entry.CopyFrom(numpy_helper.from_array(np.ones_like(before, np.int8), entry.name))
        if entry.name == "w1/scale":
            entry.CopyFrom(numpy_helper.from_array(np.ones(64, np.float32), entry.name))
    off = np.ones_like(before)
    off[7, 3] -= 0.5
    held["w1"].CopyFrom(numpy_helper.from_array(off, "w1"))
    shifts = mean_shifts(graph, quantized, [some_images(1), some_images(2)])
    assert list(shifts) == ["second"]
    pool = np.stack([_value(graph, "pool", seed) for seed in (1, 2)])
    expected = np.zeros(64)
    expected[7] = 0.5 * pool[:, 0, 3].mean()
    assert shifts["second"] == pytest.approx(expected, abs=1e-5)


def test_corrected_bias_is_the_old_one_less_the_shift_or_a_new_one() -> None:
    graph = graph_of([("a", "Conv", "images w0 b0", 1), ("b", "Conv", "a w1", 1)])
    shift = np.arange(64, dtype=np.float32)
    source = copy.deepcopy(graph)
    corrected = with_corrected_biases(graph, {"a": shift, "b": 2 * shift})
    held = {entry.name: numpy_helper.to_array(entry) for entry in corrected.graph.initializer}
    old = {entry.name: numpy_helper.to_array(entry) for entry in source.graph.initializer}
    assert held["b0"] == pytest.approx(old["b0"] - shift)
    assert held[corrected.graph.node[1].input[2]] == pytest.approx(-2 * shift)
    assert graph.SerializeToString() == source.SerializeToString()


def test_correction_brings_the_mean_back() -> None:
    """With weights of few steps, so that rounding matters."""
    graph = Trunk(graph_of(RESNET)).graph
    for entry in graph.graph.initializer:
        if entry.name == "w1":  # one great weight a channel leaves few steps for the others
            weight = numpy_helper.to_array(entry).copy()
            weight[:, 0] = 20.0
            entry.CopyFrom(numpy_helper.from_array(weight, entry.name))
    quantized = with_qdq(graph, ["second"], {"pool": 5.0}, "int8")
    shifts = mean_shifts(graph, quantized, [some_images()])
    corrected = with_qdq(with_corrected_biases(graph, shifts), ["second"], {"pool": 5.0}, "int8")
    wanted = _value(graph, "second", 1).mean(axis=(0, 2, 3))
    off = np.abs(_value(quantized, "second", 1).mean(axis=(0, 2, 3)) - wanted).mean()
    still = np.abs(_value(corrected, "second", 1).mean(axis=(0, 2, 3)) - wanted).mean()
    assert still < 0.5 * off


def _value(graph: onnx.ModelProto, name: str, seed: int) -> np.ndarray:
    probe = copy.deepcopy(graph)
    probe.graph.output.append(onnx.ValueInfoProto(name=name))
    return session_of(probe.SerializeToString()).run([name], some_images(seed))[0]
