"""Both flavours of the exported view against the oracle, on predictions of every awkward kind."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.utils import Extractor
from torch import Tensor, nn

from export.contract import CANDIDATES, DELTAS, LOGITS, OUTPUTS
from export.manifest import Bundle, Flavour, Thresholds
from export.nms import TRANSLATION
from export.plain_session import session_of
from export.to_onnx import OPSET
from export.view import ExportedView
from model.geometry import AnchorSpec
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.postprocess import Detections
from model.retinanet import Predictions
from tests.export.trials import BATCH, CANVAS, KINDS, Trial, check, oracle, trials

LEVELS = 5

LIMITS = Thresholds(pre_nms_top_k=100, max_detections=80)
"""Low enough for both to matter."""


class PostProcessing(nn.Module):
    """A view after its network: logits and deltas of each level, sizes, thresholds."""

    def __init__(self, num_classes: int, flavour: Flavour) -> None:
        super().__init__()
        stub: Any = nn.Module()
        stub.architecture = SimpleNamespace(num_classes=num_classes, anchors=AnchorSpec())
        self.view = ExportedView(stub, IMAGENET_MEAN, IMAGENET_STD, LIMITS, flavour)

    def forward(
        self, levels: list[Tensor], sizes: Tensor, score: Tensor, iou: Tensor
    ) -> list[Tensor]:
        predictions = Predictions(levels[:LEVELS], levels[LEVELS:])
        found = self.view.postprocess(predictions, tuple(CANVAS), sizes, score, iou)
        certain = [] if found.converged is None else [found.converged]
        return [*found.detections, *certain, *found.candidates]


def inputs_of(trial: Trial) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    levels = [*trial.predictions.logits, *trial.predictions.deltas]
    thresholds = (torch.tensor([value]) for value in (trial.score_threshold, trial.iou_threshold))
    return levels, trial.sizes, *thresholds  # type: ignore[return-value]


def exported(num_classes: int, flavour: Flavour) -> onnxruntime.InferenceSession:
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    (trial,) = trials(num_classes, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            PostProcessing(num_classes, flavour).eval(),
            inputs_of(trial),
            dynamic_shapes=([batch] * 2 * LEVELS, batch, None, None),
            opset_version=OPSET,
            custom_translation_table=TRANSLATION,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return session_of(program.model_proto.SerializeToString())


def by_graph(session: onnxruntime.InferenceSession, trial: Trial) -> list[Tensor]:
    levels, *others = inputs_of(trial)
    names = [part.name for part in session.get_inputs()]
    feed = {name: part.numpy() for name, part in zip(names, [*levels, *others], strict=True)}
    return [torch.from_numpy(part) for part in session.run(None, feed)]


def agree(
    trial: Trial,
    found: Sequence[Tensor],
    expected: list[list[Detections]],
    limits: Thresholds = LIMITS,
) -> int:
    return check(trial, expected, found, found[-len(CANDIDATES) :], limits)


def test_a_few_hundred_trials_of_the_tensors() -> None:
    view = PostProcessing(3, "tensor")
    for trial in trials(3, len(KINDS)):
        found = view(*inputs_of(trial))
        agree(trial, found, oracle(trial, LIMITS))
        assert found[len(OUTPUTS["cpu"])].all(), f"{trial.kind}: not converged"


def test_a_few_hundred_trials_of_the_graph_for_cpus(tiny_bundle: Bundle) -> None:
    """The graph of a bundle, from what it calls logits and deltas on."""
    whole = onnx.load(tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")))
    given = [*LOGITS, *DELTAS, "image_sizes", "score_threshold", "iou_threshold"]
    wanted = [*OUTPUTS["cpu"], *CANDIDATES]
    part = Extractor(whole).extract_model([*given, "images", "max_detections"], wanted)
    session = session_of(part.SerializeToString())
    limits = tiny_bundle.manifest.thresholds
    shape_alone = {"images": np.zeros((BATCH, *CANVAS, 3), np.uint8)}
    found = dict.fromkeys(KINDS, 0)
    for trial in trials(3, len(KINDS)):
        levels, *others = inputs_of(trial)
        named = zip(given, [*levels, *others], strict=True)
        feed = shape_alone | {name: tensor.numpy() for name, tensor in named}
        outputs = [torch.from_numpy(array) for array in session.run(wanted, feed)]
        found[trial.kind] += agree(trial, outputs, oracle(trial, limits), limits)
    # Every kind but one finds something, so that something was compared.
    assert [kind for kind in KINDS if found[kind] < BATCH] == ["below"]


@pytest.mark.slow
@pytest.mark.parametrize(("num_classes", "batches"), [(1, 60), (3, 280), (264, 60)])
def test_ten_thousand_trials_of_both(num_classes: int, batches: int) -> None:
    assert (60 + 280 + 60) * BATCH == 10_000
    cpu, tensor = exported(num_classes, "cpu"), PostProcessing(num_classes, "tensor")
    for trial in trials(num_classes, batches):
        expected = oracle(trial, LIMITS)
        agree(trial, by_graph(cpu, trial), expected)
        found = tensor(*inputs_of(trial))
        agree(trial, found, expected)
        assert found[len(OUTPUTS["cpu"])].all(), f"{trial.kind}: not converged"


@pytest.mark.slow
def test_trials_of_the_tensor_graph() -> None:
    graph = exported(3, "tensor")
    for trial in trials(3, 2 * len(KINDS)):
        agree(trial, by_graph(graph, trial), oracle(trial, LIMITS))
