"""Times on a device: work that takes turns, and work that only the device itself can time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.engines.device import Device
from loadtest.bench.spread import Spread
from model.machine import cpu_name

Work = Callable[[], object]

DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Pace:
    """How often things are run."""

    rounds: int
    warm_up: int


def in_turns(works: Mapping[str, Work], pace: Pace) -> dict[str, list[float]]:
    """Milliseconds of each work, round by round, in the other order every second round.

    By the clock: each work must end with its results in the host's memory.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(-pace.warm_up, pace.rounds):
        for name in list(works)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            works[name]()
            spent_ms = 1000.0 * (time.perf_counter() - start)
            if number >= 0:
                times[name].append(spent_ms)
    return times


def device_ms(work: Work, device: Device, pace: Pace) -> Spread:
    """What a work takes on the device, by its own event timers; by the clock on the CPU."""
    for _ in range(pace.warm_up):
        work()
    if device.kind == "cpu":
        (times,) = in_turns({"work": work}, pace).values()
        return Spread.of(times)
    marks = []
    for _ in range(pace.rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        work()
        end.record()
        marks.append((begin, end))
    torch.cuda.synchronize()
    return Spread.of([begin.elapsed_time(end) for begin, end in marks])


def peak_tflops(device: Device, dtype: torch.dtype, pace: Pace, side: int = 8192) -> float:
    """The most TFLOP/s of a matrix product in this type: the best of several."""
    if device.kind == "cpu":
        side = 512
    a, b = (torch.randn(side, side, device=str(device), dtype=dtype) for _ in range(2))
    fastest_ms = device_ms(lambda: a @ b, device, pace).p10
    return 2 * side**3 / fastest_ms / 1e9


def hardware(device: Device) -> dict[str, Any]:
    """The device and what drives it."""
    facts: dict[str, Any] = {"cpu": cpu_name(), "torch": torch.__version__}
    if device.kind == "cuda":
        index = device.index
        facts |= {
            "gpu": torch.cuda.get_device_name(index),
            "capability": ".".join(map(str, torch.cuda.get_device_capability(index))),
            "memory_gb": round(torch.cuda.get_device_properties(index).total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "driver": _driver(),
        }
    return facts


def _driver() -> str | None:
    try:
        text = DRIVER.read_text(encoding="utf-8")
    except OSError:
        return None
    return text.splitlines()[0].partition("Module")[2].split()[0]
