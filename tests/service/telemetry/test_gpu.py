"""What the metrics say of a GPU, against a module that stands for NVML's bindings."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest

from service.telemetry.gpu import open_gpu, visible_gpu
from service.telemetry.metrics import Metrics
from tests.service.fakes import make_manifest


class FakeNvml(ModuleType):
    """Two GPUs; `lost` has every question fail, `absent` has no driver."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.lost = self.absent = False
        self.started = False

    def nvmlInit(self):  # noqa: N802
        if self.absent:
            raise self.NVMLError("Driver Not Loaded")
        self.started = True

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        assert self.started
        if index not in (0, 1):
            raise self.NVMLError("Invalid Argument")
        return f"GPU-{index}"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(used={"GPU-0": 5, "GPU-1": 7}[handle], total=80)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(gpu=25, memory=3)


@pytest.fixture
def nvml(monkeypatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.mark.parametrize(
    ("index", "visible", "found"),
    [
        (1, None, 1),
        (1, "", 1),
        (0, "3,2", 3),
        (1, "3, 2", 2),
        (0, "GPU-8932f937,1", "GPU-8932f937"),
        (0, "MIG-8932f937", "MIG-8932f937"),
    ],
)
def test_cudas_number_becomes_nvmls(index, visible, found):
    assert visible_gpu(index, visible) == found


def test_the_gauges_read_the_gpu_that_serves(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    gpu = open_gpu("cuda:0")
    assert gpu is not None
    metrics = Metrics(make_manifest(), "fake-1", "fp32")
    metrics.watch_gpu(gpu)
    assert {
        "retinaserve_gpu_memory_used_bytes 7.0",
        "retinaserve_gpu_memory_total_bytes 80.0",
        "retinaserve_gpu_utilization_ratio 0.25",
    } <= set(metrics.render().decode().splitlines())


def test_a_gpu_that_is_lost_does_not_fail_the_scrape(nvml):
    gpu = open_gpu("cuda")
    assert gpu is not None
    nvml.lost = True
    assert math.isnan(gpu.memory_used_bytes())
    assert math.isnan(gpu.memory_total_bytes())
    assert math.isnan(gpu.utilization())


def test_without_gpu_driver_or_bindings_there_are_no_gauges(nvml, monkeypatch):
    assert open_gpu("cpu") is None
    assert open_gpu("cuda:9") is None
    nvml.absent = True
    assert open_gpu("cuda:0") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu("cuda:0") is None
