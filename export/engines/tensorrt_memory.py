"""Memory of a session: on the device, and pinned on the host, given back together."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.engines.tensorrt_cuda import Cuda, CudaError


@dataclass(frozen=True)
class Buffer:
    """A tensor's places, large enough for `shape`: its address on the device, pinned bytes here."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    host: NDArray[np.uint8]

    def host_view(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The first bytes of the host's memory as an array of this shape."""
        size = math.prod(shape) * self.dtype.itemsize
        if size > self.host.nbytes:
            raise ValueError(f"shape {shape} is larger than the buffer, which is for {self.shape}")
        return self.host[:size].view(self.dtype).reshape(shape)


class Memory:
    """Allocates; `resources` gives back, also what an opening that failed had taken."""

    def __init__(self, cuda: Cuda, resources: contextlib.ExitStack) -> None:
        self._cuda, self._resources = cuda, resources

    def stream(self) -> int:
        """A new stream."""
        stream = self._cuda.stream()
        self._give_back(self._cuda.destroy_stream, stream)
        return stream

    def device(self, size: int) -> int:
        """The address of `size` bytes on the device."""
        address = self._cuda.device_memory(size)
        self._give_back(self._cuda.free_device, address)
        return address

    def buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Buffer:
        """Memory for a tensor on both sides."""
        size = math.prod(shape) * dtype.itemsize
        device = self.device(size)
        host = self._cuda.pinned_memory(size)
        self._give_back(self._cuda.free_pinned, host)
        return Buffer(shape, dtype, device, host)

    def _give_back(self, free: Callable[[Any], None], what: Any) -> None:
        def release() -> None:
            # At exit CUDA may be gone already, and its memory with it.
            with contextlib.suppress(CudaError):
                free(what)

        self._resources.callback(release)
