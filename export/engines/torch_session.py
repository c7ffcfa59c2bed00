"""A session of torch: a checkpoint served as it is, without a graph."""

from __future__ import annotations

import logging
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.draft import draft_facts, source_facts
from export.engines.faults import session_error
from export.engines.session import Detections, Session, SessionError, SessionRule
from export.manifest import Graph, Manifest, Precision, manifest_of
from model.anchors import anchors_of_canvas
from model.backbones.norm import FrozenBatchNorm2d
from model.checkpoint import Checkpoint, load_checkpoint
from model.errors import InputError
from model.evaluation.postprocess import batch_detections
from model.letterbox import Canvas
from model.normalise import normalise
from model.retinanet import Predictions, RetinaNet

logger = logging.getLogger(__name__)

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}

COMPILED_SHAPES = 256
"""Shapes (canvas and batch size) that torch.compile may know; past its default of 8 it gives up."""


def open_session(rule: SessionRule) -> Session:
    """A checkpoint's session; InputError for a precision that torch does not run."""
    precision = rule.precision or "fp32"
    if precision not in DTYPES:
        raise InputError(f"precision {precision}: engine torch runs {', '.join(DTYPES)}")
    checkpoint = load_checkpoint(rule.path)
    manifest = manifest_of_checkpoint(rule.path, checkpoint, precision, rule.scales)
    network = network_of(checkpoint, DTYPES[precision], str(rule.device), rule.compiled)
    if rule.device.kind == "cuda":
        # Imported late: only a GPU needs the graphs' own post-processing.
        from export.engines.torch_cuda import CudaGraphs, TorchCudaSession

        session: Session = TorchCudaSession(network, manifest, CudaGraphs(rule.device))
    else:
        torch.set_num_threads(rule.threads)
        session = TorchSession(network, manifest)
    if rule.compiled:
        _try_compiled(session)
    return session


def manifest_of_checkpoint(
    path: Path, checkpoint: Checkpoint, precision: Precision, scales: tuple[int, ...]
) -> Manifest:
    """The manifest of a bundle that would serve this checkpoint; its only file is the checkpoint.

    The scales have their standard canvases; without any, the training's is served.
    """
    facts = draft_facts(checkpoint, source_facts(path, checkpoint), scales=scales)
    file = Graph(file=path.name, precision=precision, sha256=facts["source"]["sha256"], opset=0)
    return manifest_of(facts | {"graphs": [file], "metrics": checkpoint.metrics})


def network_of(
    checkpoint: Checkpoint, dtype: torch.dtype, device: str, compiled: bool
) -> RetinaNet:
    """The checkpoint's network ready to run: norms folded, channels last."""
    network = fold_norms(checkpoint.build())
    network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        dynamo: Any = torch._dynamo.config
        dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED_SHAPES)
        network.compile(dynamic=False)
    return network.requires_grad_(False)


def fold_norms(network: RetinaNet) -> RetinaNet:
    """The network, changed: each batch norm that follows a convolution is part of its weights.

    The model folds frozen norms in every forward pass, since training changes the weights: for
    ResNet-50 that is a product of 23 million weights a run.
    """
    leaves = [name for name, module in network.named_modules() if not list(module.children())]
    for conv_name, norm_name in pairwise(leaves):
        conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
            folded: nn.Module = fuse_conv_bn_eval(conv, norm)  # type: ignore[arg-type]
            network.set_submodule(conv_name, folded)
            network.set_submodule(norm_name, nn.Identity())
    return network


class TorchSession:
    """A network on the CPU."""

    def __init__(self, network: RetinaNet, manifest: Manifest) -> None:
        self._network = network
        self._dtype = network.fpn.p6.weight.dtype
        self._anchors = lru_cache(maxsize=None)(self._anchors_of)
        self.manifest = manifest
        self.engine = f"torch-{torch.__version__}"
        self.precision: Precision = manifest.graphs[0].precision
        self.parity: dict[str, Any] = {}
        self.max_batch: int | None = None

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`."""
        manifest = self.manifest
        sizes = torch.from_numpy(image_sizes)
        try:
            with torch.inference_mode():
                x = normalise(torch.from_numpy(images), sizes, manifest.mean, manifest.std)
                predictions = self._network(x.to(self._dtype, memory_format=torch.channels_last))
                found = batch_detections(
                    Predictions(*predictions),
                    self._anchors(Canvas(*images.shape[1:3])),
                    sizes,
                    score_threshold=score_threshold,
                    iou_threshold=iou_threshold,
                    pre_nms_top_k=manifest.thresholds.pre_nms_top_k,
                    max_detections=manifest.thresholds.max_detections,
                )
        except RuntimeError as error:  # what torch and its compiler raise
            raise session_error("torch", error) from error
        return [Detections(*(part.numpy() for part in one)) for one in found]

    def _anchors_of(self, canvas: Canvas) -> list[Tensor]:
        return anchors_of_canvas(canvas, self.manifest.anchors)


def _try_compiled(session: Session) -> None:
    """Compiles for the smallest canvas; InputError if that does not work on this machine."""
    canvases = [canvas for group in session.manifest.canvases_by_scale.values() for canvas in group]
    canvas = min(canvases, key=lambda c: c.height * c.width)
    grey = np.full((1, *canvas, 3), 128, np.uint8)
    try:
        session.run(grey, np.array([canvas], np.int64), 0.05, 0.5)
    except SessionError as error:
        logger.debug("torch.compile failed", exc_info=error)
        raise InputError(
            "torch.compile does not work here (on a CPU it needs a C++ compiler, on a GPU triton): "
            "serve without it"
        ) from None
