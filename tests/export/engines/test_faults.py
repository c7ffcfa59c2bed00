"""The words of the libraries, and what they mean for the service."""

from __future__ import annotations

import pytest
import torch

from export.engines.faults import session_error
from export.engines.session import DeviceFault, OutOfMemory, SessionError

ARENA = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Where node. "
    "Name:'node_where' Status Message: bfc_arena.cc:360 void* onnxruntime::BFCArena::"
    "AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for "
    "requested buffer of size 7372800"
)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (ARENA, OutOfMemory),
        ("std::bad_alloc", OutOfMemory),
        ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of", OutOfMemory),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", OutOfMemory),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceFault),
        ("CUDA error: unspecified launch failure", DeviceFault),
        ("CUDA error: device-side assert triggered", DeviceFault),
        ("uncorrectable ECC error encountered", DeviceFault),
        ("Non-zero status code returned while running Reshape node", SessionError),
        ("The size of tensor a (3) must match the size of tensor b (4)", SessionError),
        ("", SessionError),
    ],
)
def test_the_words_say_the_kind(words, kind):
    assert type(session_error("engine", RuntimeError(words))) is kind


def test_torchs_own_words_for_too_much_memory_are_understood():
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert type(session_error("torch", refusal.value)) is OutOfMemory
