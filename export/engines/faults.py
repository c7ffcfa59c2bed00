"""What kind of failure an engine's own exception tells of, where its library has only words."""

from __future__ import annotations

import re

from export.engines.session import DeviceFault, OutOfMemory, SessionError

MEMORY_WORDS = re.compile(
    r"out of memory|failed to allocate|can't allocate memory|bad_alloc|bad allocation"
    r"|_ALLOC_FAILED",
    re.IGNORECASE,
)
"""Of ONNX Runtime's arena, torch's allocators, C++ and CUDA's libraries."""

LOST_WORDS = re.compile(
    r"illegal memory access|illegal instruction|misaligned address|invalid program counter"
    r"|unspecified launch failure|launch timed out|device-side assert|uncorrectable"
    r"|hardware stack error|not supported on global/shared address space|device is lost",
    re.IGNORECASE,
)
"""As cudaGetErrorString puts the errors after which only a new process can use the GPU."""


def session_error(engine: str, error: BaseException) -> SessionError:
    """What a session raises `from error`, whose words say which kind it is."""
    words = str(error)
    if LOST_WORDS.search(words):
        return DeviceFault(f"{engine}: the GPU is lost to this process")
    if MEMORY_WORDS.search(words):
        return OutOfMemory(f"{engine} has no memory left for this batch")
    return SessionError(f"{engine} failed on a batch")
