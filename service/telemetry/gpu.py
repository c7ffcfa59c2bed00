"""What the GPU that serves says of itself: by NVML, where nvidia-ml-py is installed."""

from __future__ import annotations

import importlib
import logging
import math
import os
from typing import Any

from export.engines.device import Device

logger = logging.getLogger(__name__)

NVML = "pynvml"


class Gpu:
    """A GPU by its NVML handle; a value that the driver does not give is NaN.

    Raises pynvml.NVMLError where there is no such GPU.
    """

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        name = visible_gpu(index, os.environ.get("CUDA_VISIBLE_DEVICES"))
        if isinstance(name, int):
            self._handle = nvml.nvmlDeviceGetHandleByIndex(name)
        else:
            self._handle = nvml.nvmlDeviceGetHandleByUUID(name)

    def memory_used_bytes(self) -> float:
        """Memory in use, by whatever process."""
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        except self._nvml.NVMLError:
            return math.nan

    def memory_total_bytes(self) -> float:
        """Memory that the device has."""
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total)
        except self._nvml.NVMLError:
            return math.nan

    def utilization(self) -> float:
        """The part of the driver's last sample period in which anything ran; 0 to 1."""
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100.0
        except self._nvml.NVMLError:
            return math.nan


def visible_gpu(index: int, visible: str | None) -> int | str:
    """The number or UUID by which NVML knows the GPU that CUDA shows as `index`.

    `visible`: CUDA_VISIBLE_DEVICES, which NVML does not heed. Numbers are taken as NVML's own: true
    where all GPUs are alike or CUDA_DEVICE_ORDER is PCI_BUS_ID.
    """
    shown = [one.strip() for one in visible.split(",")] if visible else []
    if index >= len(shown):
        return index
    return int(shown[index]) if shown[index].isdecimal() else shown[index]


def open_gpu(device: str) -> Gpu | None:
    """The GPU of a setting `device`; None for the CPU and where NVML can't be asked."""
    parsed = Device.parse(device)
    if parsed.kind != "cuda":
        return None
    try:
        nvml = importlib.import_module(NVML)
    except ModuleNotFoundError:
        logger.info("no metrics of the GPU: nvidia-ml-py is not installed")
        return None
    try:
        return Gpu(nvml, parsed.index)
    except nvml.NVMLError as error:
        logger.warning("no metrics of the GPU: %s", error)
        return None
