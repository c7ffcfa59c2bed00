"""The few calls of the CUDA runtime that a TensorRT session needs, behind a protocol."""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.engines.device import Device
from model.errors import InputError

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = "cudaErrorMemoryAllocation"

STICKY = frozenset(
    {
        "cudaErrorAssert",
        "cudaErrorContained",
        "cudaErrorECCUncorrectable",
        "cudaErrorExternalDevice",
        "cudaErrorHardwareStackError",
        "cudaErrorIllegalAddress",
        "cudaErrorIllegalInstruction",
        "cudaErrorInvalidAddressSpace",
        "cudaErrorInvalidPc",
        "cudaErrorLaunchFailure",
        "cudaErrorLaunchTimeout",
        "cudaErrorMisalignedAddress",
        "cudaErrorMpsClientTerminated",
        "cudaErrorNvlinkUncorrectable",
        "cudaErrorTensorMemoryLeak",
    }
)
"""After these every call in the process fails until it is started anew: 'the process must be
terminated and relaunched' in CUDA's own words, which the two uncorrectable ones lack."""


class CudaError(RuntimeError):
    """A call of the CUDA runtime that failed; `name` is CUDA's own name of the error."""

    def __init__(self, call: str, name: str) -> None:
        super().__init__(f"{call}: {name}")
        self.name = name


@dataclass(frozen=True)
class Gpu:
    """What a plan is tied to: CUDA's name of the GPU, its compute capability, and the CUDA version
    of the driver.
    """

    name: str
    capability: str
    driver: str


class Cuda(Protocol):
    """CUDA, as sessions use it. Addresses and handles are plain numbers; all raise CudaError.

    Device and stream belong to the calling thread's current device: `set_device` first.
    """

    def set_device(self, index: int) -> None: ...
    def device_memory(self, size: int) -> int:
        """The address of new memory on the device, aligned to 256 bytes."""

    def free_device(self, address: int) -> None: ...
    def pinned_memory(self, size: int) -> NDArray[np.uint8]:
        """New page-locked host memory: the device copies from and to it while the host works."""

    def free_pinned(self, memory: NDArray[np.uint8]) -> None: ...
    def stream(self) -> int:
        """A new stream that does not wait for the default stream."""

    def destroy_stream(self, stream: int) -> None: ...
    def upload(self, device: int, host: NDArray[Any], stream: int) -> None:
        """Queues a copy of pinned host memory to the device."""

    def download(self, host: NDArray[Any], device: int, stream: int) -> None:
        """Queues a copy from the device to pinned host memory, as much as it holds."""

    def synchronize(self, stream: int) -> None:
        """Waits for all that was queued."""

    def begin_capture(self, stream: int) -> None:
        """From here on this thread's calls on the stream are recorded, not run."""

    def end_capture(self, stream: int) -> int:
        """The recorded work, ready to launch: its addresses and sizes are fixed."""

    def launch(self, graph: int, stream: int) -> None: ...
    def destroy_graph(self, graph: int) -> None: ...
    def take_error(self) -> str | None:
        """The name of the last error that no call reported, which is then forgotten."""


class CudaRuntime:
    """`Cuda` by NVIDIA's package `cuda-bindings`."""

    def __init__(self, runtime: Any) -> None:
        self._api = runtime

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        error, *values = function(*arguments)
        if error != self._api.cudaError_t.cudaSuccess:
            self._api.cudaGetLastError()  # else the next one to ask is told of this one
            raise CudaError(function.__name__, error.name)
        return values[0] if values else None

    def count(self) -> int:
        """How many GPUs there are."""
        return int(self._call(self._api.cudaGetDeviceCount))

    def gpu(self, index: int) -> Gpu:
        """The facts of a GPU."""
        facts = self._call(self._api.cudaGetDeviceProperties, index)
        version = int(self._call(self._api.cudaDriverGetVersion))
        return Gpu(
            facts.name.decode().rstrip("\0"),
            f"{facts.major}.{facts.minor}",
            f"{version // 1000}.{version % 1000 // 10}",
        )

    def set_device(self, index: int) -> None:
        self._call(self._api.cudaSetDevice, index)

    def device_memory(self, size: int) -> int:
        return int(self._call(self._api.cudaMalloc, size))

    def free_device(self, address: int) -> None:
        self._call(self._api.cudaFree, address)

    def pinned_memory(self, size: int) -> NDArray[np.uint8]:
        address = int(self._call(self._api.cudaMallocHost, size))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        self._call(self._api.cudaFreeHost, memory.ctypes.data)

    def stream(self) -> int:
        flags = self._api.cudaStreamNonBlocking
        return int(self._call(self._api.cudaStreamCreateWithFlags, flags))

    def destroy_stream(self, stream: int) -> None:
        self._call(self._api.cudaStreamDestroy, stream)

    def upload(self, device: int, host: NDArray[Any], stream: int) -> None:
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._api.cudaMemcpyAsync, device, host.ctypes.data, host.nbytes, kind, stream)

    def download(self, host: NDArray[Any], device: int, stream: int) -> None:
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._api.cudaMemcpyAsync, host.ctypes.data, device, host.nbytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        self._call(self._api.cudaStreamSynchronize, stream)

    def begin_capture(self, stream: int) -> None:
        # Other threads may go on using CUDA meanwhile.
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._api.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> int:
        recorded = self._call(self._api.cudaStreamEndCapture, stream)
        try:
            return int(self._call(self._api.cudaGraphInstantiate, recorded, 0))
        finally:
            self._call(self._api.cudaGraphDestroy, recorded)

    def launch(self, graph: int, stream: int) -> None:
        self._call(self._api.cudaGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call(self._api.cudaGraphExecDestroy, graph)

    def take_error(self) -> str | None:
        (error,) = self._api.cudaGetLastError()
        return None if error == self._api.cudaError_t.cudaSuccess else error.name


def open_cuda(device: Device) -> CudaRuntime:
    """CUDA with this GPU as the thread's current one; InputError if it can't be had."""
    if device.kind != "cuda":
        raise InputError(f"device {device}: TensorRT needs a GPU, for example cuda:0")
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise InputError(
            "cuda-bindings, NVIDIA's package for CUDA in Python, is not installed: "
            "pip install 'retinaserve[tensorrt]' brings it"
        ) from None
    cuda = CudaRuntime(runtime)
    try:
        count = cuda.count()
        if device.index < count:
            cuda.set_device(device.index)
    except CudaError as error:
        raise InputError(
            f"device {device}: CUDA finds no GPU with a fitting driver here ({error.name})"
        ) from None
    if device.index >= count:
        raise InputError(f"device {device}: this machine has {count} GPUs, from cuda:0")
    return cuda
