"""Export of the architectures that are not the usual one."""

from __future__ import annotations

import pytest

from export.inputs import Placed, drawn_pictures, placed
from export.manifest import Thresholds
from export.quantize import quantized
from export.to_onnx import to_onnx
from export.verify import verify
from export.view import ExportedView
from model.letterbox import Canvas
from tests.tiny import make_tiny_checkpoint


@pytest.mark.slow
def test_trained_norm_group_norm_and_p6_from_p5_are_exported_as_they_are() -> None:
    checkpoint = make_tiny_checkpoint(
        class_gain=1.0, norm="trained", head_norm="group", p6_from="p5", head_width=64
    )
    thresholds = Thresholds()
    batches: list[list[Placed]] = [
        [placed(picture, min(canvas), [canvas]) for picture in drawn_pictures(canvas, 2)]
        for canvas in (Canvas(64, 96), Canvas(96, 64))
    ]
    view = ExportedView(checkpoint.build(), checkpoint.mean, checkpoint.std, thresholds)
    graph = to_onnx(view)
    fp32 = verify(graph.SerializeToString(), checkpoint, batches, "fp32", thresholds)
    assert fp32["detections"] > 200
    eighth = quantized(graph, [entry.feed for batch in batches for entry in batch])
    int8 = verify(eighth.SerializeToString(), checkpoint, batches, "int8", thresholds)
    assert int8["detections"] > 200
    assert {"InstanceNormalization", "QuantizeLinear"} <= {n.op_type for n in eighth.graph.node}
