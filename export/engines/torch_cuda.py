"""The torch session on a GPU: each shape captured once as a CUDA graph, then replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from export.engines.device import Device
from export.engines.faults import session_error
from export.engines.graph_values import settled_detections
from export.engines.session import Detections
from export.manifest import Manifest, Precision
from export.view import ExportedView
from model.retinanet import RetinaNet

WARM_UP_RUNS = 3
"""Runs before the capture: cuDNN chooses its algorithms, torch.compile compiles."""

Compute = Callable[[], tuple[Tensor, ...]]
Replay = Callable[[], None]


class Gpu(Protocol):
    """The little that the session asks of CUDA, so that its logic runs without as well."""

    device: torch.device

    def host(self, like: Tensor) -> Tensor:
        """An empty tensor in memory of the host that the device copies from and to directly."""

    def capture(self, compute: Compute) -> tuple[tuple[Tensor, ...], Replay]:
        """What `compute` gives, and what makes it anew in the same place."""

    def run(self, work: Callable[[], None]) -> None:
        """Queues `work` and waits until the device has done it."""


class CudaGraphs:
    """CUDA graphs that share their memory: only one of them runs at a time."""

    def __init__(self, device: Device) -> None:
        # The algorithms are measured: every shape runs many times, and is warmed before it counts.
        cudnn: Any = torch.backends.cudnn
        cudnn.benchmark = True
        # fp32 means fp32: TF32, torch's default for convolutions, keeps 10 of 23 bits.
        cudnn.conv.fp32_precision = "ieee"
        self.device = torch.device(str(device))
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def host(self, like: Tensor) -> Tensor:
        """See `Gpu.host`."""
        return torch.empty_like(like, device="cpu", pin_memory=True)

    def capture(self, compute: Compute) -> tuple[tuple[Tensor, ...], Replay]:
        """See `Gpu.capture`."""
        constants = Constants()
        with constants, torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_RUNS):
                compute()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                outputs = compute()

        def replay() -> None:
            assert constants  # the graph reads them
            graph.replay()

        return outputs, replay

    def run(self, work: Callable[[], None]) -> None:
        """See `Gpu.run`."""
        with torch.cuda.stream(self._stream):
            work()
        self._stream.synchronize()


class Constants(TorchFunctionMode):
    """Makes each constant of the code (`torch.tensor`) once and then gives it again.

    Made anew it is copied from the host, which waits for the device: forbidden in a capture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.tensor:
            return func(*args, **kwargs)
        key = f"{args} {kwargs}"
        if key not in self.made:
            self.made[key] = func(*args, **kwargs)
        return self.made[key]


class _Inputs(NamedTuple):
    images: Tensor
    image_sizes: Tensor
    score_threshold: Tensor
    iou_threshold: Tensor


class _Shape:
    """The buffers of one canvas and batch size, and the captured view between them."""

    def __init__(self, view: ExportedView, gpu: Gpu, inputs: _Inputs) -> None:
        self._gpu = gpu
        self._inputs = _Inputs(*(tensor.to(gpu.device) for tensor in inputs))
        self._outputs, self._replay = gpu.capture(lambda: view(*self._inputs))
        self._hosts_in = _Inputs(*(gpu.host(tensor) for tensor in self._inputs))
        self._hosts_out = [gpu.host(tensor) for tensor in self._outputs[:FOUND]]

    def run(self, inputs: _Inputs) -> list[NDArray[Any]]:
        """num_detections, boxes, scores, classes and converged."""
        for host, given in zip(self._hosts_in, inputs, strict=True):
            host.copy_(given)
        self._gpu.run(self._queue)
        return [host.numpy() for host in self._hosts_out]

    def candidates(self) -> list[NDArray[Any]]:
        """Boxes, scores and classes of the candidates of the last run."""
        return [tensor.cpu().numpy() for tensor in self._outputs[FOUND:]]

    def _queue(self) -> None:
        for tensor, host in zip(self._inputs, self._hosts_in, strict=True):
            tensor.copy_(host, non_blocking=True)
        self._replay()
        for host, tensor in zip(self._hosts_out, self._outputs, strict=False):
            host.copy_(tensor, non_blocking=True)


FOUND = 5
"""Outputs of the tensor flavour that are always fetched; the candidates come after them."""


class TorchCudaSession:
    """A network on a GPU, with the tensor flavour's post-processing there too."""

    def __init__(self, network: RetinaNet, manifest: Manifest, gpu: Gpu) -> None:
        self._view = ExportedView(
            network, manifest.mean, manifest.std, manifest.thresholds, flavour="tensor"
        ).eval()
        self._gpu = gpu
        self._shapes: dict[tuple[int, ...], _Shape] = {}
        self.manifest = manifest
        self.engine = f"torch-{torch.__version__}-cuda"
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
        inputs = _Inputs(
            torch.from_numpy(images),
            torch.from_numpy(image_sizes),
            torch.tensor([score_threshold]),
            torch.tensor([iou_threshold]),
        )
        try:
            with torch.inference_mode():
                shape = self._shapes.get(images.shape)
                if shape is None:
                    shape = _Shape(self._view, self._gpu, inputs)
                    self._shapes[images.shape] = shape
                found = shape.run(inputs)
                return settled_detections(
                    found,
                    shape.candidates,
                    iou_threshold,
                    self.manifest.thresholds.max_detections,
                )
        except RuntimeError as error:  # what torch, CUDA and the compiler raise
            raise session_error("torch", error) from error
