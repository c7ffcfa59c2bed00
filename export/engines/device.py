"""Where a session runs: the processor or a numbered GPU."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Literal

from model.errors import InputError

CUDA_DRIVER = "libcuda.so.1"


@dataclass(frozen=True)
class Device:
    """`index` counts the GPUs that CUDA shows (CUDA_VISIBLE_DEVICES), from 0."""

    kind: Literal["cpu", "cuda"] = "cpu"
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device written as cpu, cuda or cuda:N; else InputError."""
        if text == "cpu":
            return cls()
        if found := re.fullmatch(r"cuda(?::(\d{1,3}))?", text):
            return cls("cuda", int(found[1] or 0))
        raise InputError(f"device {text!r}: accepted are cpu, cuda and cuda:N, for example cuda:0")

    def check(self) -> None:
        """Raises InputError unless this machine has the device."""
        if self.kind == "cpu":
            return
        count = gpu_count()
        if not count:
            raise InputError(f"device {self}: CUDA shows no GPU here; accepted is cpu")
        if self.index >= count:
            shown = ", ".join(str(Device("cuda", index)) for index in range(count))
            raise InputError(f"device {self}: there is none; accepted are cpu, {shown}")


def gpu_count() -> int:
    """GPUs that the CUDA driver shows to this process; 0 without a driver.

    Asked of the driver itself, which needs none of the engines' libraries.
    """
    try:
        driver = ctypes.CDLL(CUDA_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
