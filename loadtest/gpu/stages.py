"""What the parts of the exported view take on a device, each captured as the session has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from export.engines.device import Device
from export.engines.torch_cuda import FOUND
from export.fixpoint_nms import fixpoint_nms
from export.view import ExportedView
from loadtest.gpu.clock import Pace, device_ms
from model.normalise import normalise

Capture = Callable[[Callable[[], object]], Callable[[], object]]


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of a batch on the device, medians."""

    trunk: float
    heads: float
    candidates: float
    nms: float
    copies: float
    """Of the images to the device and of the detections from it."""

    @property
    def post_process(self) -> float:
        """Top-k, decoding and NMS together."""
        return self.candidates + self.nms


def stage_times(
    view: ExportedView, images: Tensor, image_sizes: Tensor, device: Device, pace: Pace
) -> StageTimes:
    """The stages of a view of the tensor flavour that lies on the device.

    Prefixes of the view are timed, each longer by a stage, and NMS alone on the candidates of the
    last: so no stage is measured with the host's delay between two kernels.
    Shapes: images uint8 [B, H, W, 3], image_sizes [B, 2], on the device.
    """
    model, thresholds = view.model, view.thresholds
    score, iou = (
        torch.tensor([value], device=images.device)
        for value in (thresholds.score_threshold, thresholds.iou_threshold)
    )
    dtype = model.fpn.p6.weight.dtype

    def trunk() -> object:
        x = normalise(images, image_sizes, view.mean, view.std).to(dtype)
        return model.fpn(model.backbone(x))

    def network() -> object:
        return model(normalise(images, image_sizes, view.mean, view.std).to(dtype))

    def whole() -> object:
        return view(images, image_sizes, score, iou)

    with torch.inference_mode():
        inputs, outputs = (images, image_sizes), view(images, image_sizes, score, iou)[:FOUND]
        hosts_in, hosts_out = ([_host(tensor) for tensor in part] for part in (inputs, outputs))

        def copies() -> None:
            for target, source in zip((*inputs, *hosts_out), (*hosts_in, *outputs), strict=True):
                target.copy_(source, non_blocking=True)

        candidates = view.stages(images, image_sizes, score, iou).candidates
        capture = _capture_on(device)
        trunk_ms, network_ms, whole_ms, nms_ms = (
            device_ms(capture(part), device, pace).median
            for part in (trunk, network, whole, lambda: fixpoint_nms(*candidates, iou))
        )
        copies_ms = device_ms(copies, device, pace).median
    return StageTimes(
        trunk_ms,
        max(0.0, network_ms - trunk_ms),
        max(0.0, whole_ms - network_ms - nms_ms),
        nms_ms,
        copies_ms,
    )


def _host(like: Tensor) -> Tensor:
    """A copy in memory of the host, which a GPU copies from and to directly."""
    copy = like.cpu()
    return copy.pin_memory() if like.is_cuda else copy.clone()


def _capture_on(device: Device) -> Capture:
    """On a GPU, work becomes a CUDA graph; on the CPU it stays as it is."""
    if device.kind == "cpu":
        return lambda work: work
    from export.engines.torch_cuda import CudaGraphs

    graphs = CudaGraphs(device)

    def capture(work: Callable[[], object]) -> Callable[[], object]:
        _, replay = graphs.capture(work)  # type: ignore[arg-type]
        return replay

    return capture
