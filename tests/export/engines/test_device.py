from __future__ import annotations

import ctypes

import pytest

from export.engines import device
from export.engines.device import Device
from model.errors import InputError


@pytest.mark.parametrize(
    ("text", "kind", "index", "written"),
    [
        ("cpu", "cpu", 0, "cpu"),
        ("cuda", "cuda", 0, "cuda:0"),
        ("cuda:0", "cuda", 0, "cuda:0"),
        ("cuda:3", "cuda", 3, "cuda:3"),
    ],
)
def test_device_is_read_and_written(text: str, kind: str, index: int, written: str) -> None:
    found = Device.parse(text)
    assert (found.kind, found.index, str(found)) == (kind, index, written)


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", "cuda0"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="accepted are cpu, cuda and cuda:N"):
        Device.parse(text)


def test_cpu_is_there_without_asking_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu_count", lambda: pytest.fail("asked"))
    Device().check()


def test_gpu_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CUDA_DRIVER", "libno_such_driver.so.1")
    with pytest.raises(InputError, match="device cuda:0: CUDA shows no GPU here; accepted is cpu"):
        Device("cuda", 0).check()


class Driver:
    """libcuda as ctypes shows it."""

    def __init__(self, count: int, fault: int = 0) -> None:
        self.count, self.fault = count, fault

    def cuInit(self, flags: int) -> int:  # noqa: N802 - CUDA's name
        assert flags == 0
        return self.fault

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802 - CUDA's name
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return 0


def test_gpu_past_the_last_is_refused_and_those_there_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(2))
    Device("cuda", 1).check()
    with pytest.raises(
        InputError, match="device cuda:2: there is none; accepted are cpu, cuda:0, cuda:1"
    ):
        Device("cuda", 2).check()


def test_driver_that_does_not_start_shows_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(2, fault=100))
    assert device.gpu_count() == 0
