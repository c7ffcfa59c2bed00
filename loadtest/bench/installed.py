"""Whether what a run needs is installed: a sentence before the work, not an error in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from export.engines.device import Device
from export.engines.registry import ENGINES
from loadtest.bench.worker import EAGER
from model.errors import InputError

MAKERS = ("torch", "onnx", "onnxscript")
"""What making a bundle of an architecture needs; the extra `export` brings them."""


def check_engines(names: Sequence[str], device: str) -> None:
    """InputError unless each engine is known and has what it needs here."""
    place = Device.parse(device)
    place.check()
    for name in names:
        if name not in (*ENGINES, EAGER):
            raise InputError(f"--engines {name}: accepted are {', '.join([*ENGINES, EAGER])}")
        engine = ENGINES["torch" if name == EAGER else name]
        if place.kind not in engine.extras:
            raise InputError(f"--engines {name}: needs a GPU; give --device cuda:0")
        if name == EAGER and place.kind != "cpu":
            raise InputError(f"--engines {name}: accepted with --device cpu")
        _check(f"--engines {name}", engine.package, engine.extras[place.kind])


def check_makers(option: str) -> None:
    """InputError unless all that makes graphs is installed."""
    for package in MAKERS:
        _check(option, package, "export")


def check_matplotlib() -> None:
    """InputError unless plots can be drawn."""
    _check("--plot", "matplotlib", "loadtest")


def _check(option: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{option}: needs {package}, which is not installed: "
            f"pip install 'retinaserve[{extra}]' brings it"
        )
