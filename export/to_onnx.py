"""From a checkpoint to an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx import numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from export.contract import CANDIDATES, DELTAS, INPUTS, LOGITS, OPTIONAL_INPUTS, OUTPUTS
from export.nms import TRANSLATION
from export.view import ExportedView
from model.letterbox import Canvas

OPSET = 18

TRACED = Canvas(288, 416)
"""The example: no level has a side of 1, which group norm's trace takes for a constant."""

NO_LIMIT = 2**40


def to_onnx(view: ExportedView) -> onnx.ModelProto:
    """The view as an ONNX graph for any batch size and any canvas.

    The thresholds and the limit on detections are optional inputs: initializers that a caller may
    override. `export.contract` says what its values are called.
    """
    thresholds = view.thresholds
    example = (
        torch.zeros((2, *TRACED, 3), dtype=torch.uint8),  # a batch of 1 would be baked in
        torch.tensor([list(TRACED)] * 2),
        torch.tensor([thresholds.score_threshold]),
        torch.tensor([thresholds.iou_threshold]),
        torch.tensor([thresholds.max_detections]),
    )
    outputs = (*OUTPUTS[view.flavour], *LOGITS, *DELTAS)
    if view.flavour == "cpu":
        outputs += CANDIDATES
    batch = torch.export.Dim("batch", min=1, max=1024)
    height, width = (torch.export.Dim(f"{side}_by_32", min=1, max=256) for side in ("h", "w"))
    with warnings.catch_warnings():
        # The exporter's own deprecation notices: nothing that its caller can act on.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _WithStages(view).eval(),
            example,
            input_names=list(INPUTS),
            output_names=list(outputs),
            dynamic_shapes=({0: batch, 1: 32 * height, 2: 32 * width}, {0: batch}, *[None] * 3),
            opset_version=OPSET,
            custom_translation_table=TRANSLATION,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    # Once more, of any size: a convolution's weights times its norm's scale are constants.
    optimizer.optimize(program.model, input_size_limit=NO_LIMIT, output_size_limit=NO_LIMIT)
    proto = program.model_proto
    for name in OPTIONAL_INPUTS:
        default = torch.tensor([getattr(thresholds, name)]).numpy()
        proto.graph.initializer.append(numpy_helper.from_array(default, name))
    _keep_inside(proto, outputs[len(OUTPUTS[view.flavour]) :])
    _drop_traces(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


class _WithStages(nn.Module):
    """A view whose stages are outputs as well: the exporter gives names to outputs alone."""

    def __init__(self, view: ExportedView) -> None:
        super().__init__()
        self.view = view

    def forward(
        self,
        images: Tensor,
        image_sizes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
        max_detections: Tensor,
    ) -> tuple[Tensor, ...]:
        found = self.view.stages(
            images, image_sizes, score_threshold, iou_threshold, max_detections
        )
        logits, deltas = found.predictions
        if found.converged is None:
            return (*found.detections, *logits, *deltas, *found.candidates)
        return (*found.detections, found.converged, *found.candidates, *logits, *deltas)


def _keep_inside(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Makes these outputs inner values, which keep their names and types."""
    graph = proto.graph
    kept = [value for value in graph.output if value.name not in names]
    graph.value_info.extend(value for value in graph.output if value.name in names)
    del graph.output[:]
    graph.output.extend(kept)


def _drop_traces(proto: onnx.ModelProto) -> None:
    """Removes the exporter's stack traces: they name the paths of the machine that exported."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
