"""The engines by name, and a session of one of them. An engine's library is imported when asked."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from export.engines.device import Device
from export.engines.session import Session, SessionRule
from export.manifest import Precision
from model.cores import available_cores
from model.errors import InputError

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "onnxruntime", "tensorrt", "torch"]
Opens = Literal["bundle", "checkpoint"]


@dataclass(frozen=True)
class Engine:
    """`module` has `open_session(rule: SessionRule) -> Session`.

    `package`: what it imports. `extras`: which extra of ours brings that, by the kinds of device
    that the engine can use.
    """

    module: str
    package: str
    extras: dict[str, str]
    opens: Opens


ENGINES: dict[str, Engine] = {
    "onnxruntime": Engine(
        "export.engines.onnxruntime_session",
        "onnxruntime",
        {"cpu": "cpu", "cuda": "gpu"},
        "bundle",
    ),
    "tensorrt": Engine(
        "export.engines.tensorrt_session", "tensorrt", {"cuda": "tensorrt"}, "bundle"
    ),
    "torch": Engine(
        "export.engines.torch_session",
        "torch",
        {"cpu": "export", "cuda": "export"},
        "checkpoint",
    ),
}


class _Module(Protocol):
    def open_session(self, rule: SessionRule) -> Session: ...


def open_session(
    path: Path,
    engine: str = "auto",
    device: str = "cpu",
    precision: Precision | None = None,
    threads: int | None = None,
    *,
    scales: tuple[int, ...] = (),
    compiled: bool = False,
) -> Session:
    """A session of a bundle's folder or a checkpoint's file.

    `auto` takes the fastest of the engines that are installed and fit; see `export.engines.choice`.
    `threads` None takes all cores; see `SessionRule` for the rest.
    Raises InputError: an unknown engine or device, a missing package or GPU, a path that the engine
    does not open.
    """
    if engine not in get_args(EngineName):
        raise InputError(f"engine {engine!r}: accepted are {', '.join(get_args(EngineName))}")
    threads = available_cores() if threads is None else threads
    rule = SessionRule(path, Device.parse(device), precision, threads, scales, compiled)
    rule.device.check()
    _check_options(rule)
    if engine != "auto":
        return open_engine(engine, rule)
    names = _candidates(rule)
    if len(names) == 1:
        logger.info("engine %s: no other opens %s on %s", names[0], path, rule.device)
        return open_engine(names[0], rule)
    # Imported late: where there is nothing to choose, serving starts without drawing pictures.
    from export.engines.choice import fastest_session

    return fastest_session(names, rule, open_engine)


def open_engine(name: str, rule: SessionRule) -> Session:
    """A session of this engine; InputError says what is missing."""
    if lack := _lack(name, rule):
        raise InputError(lack)
    module: _Module = importlib.import_module(ENGINES[name].module)
    return module.open_session(rule)


def _candidates(rule: SessionRule) -> list[str]:
    lacks = {name: _lack(name, rule) for name in ENGINES}
    names = [name for name, lack in lacks.items() if lack is None]
    if not names:
        raise InputError("; ".join(lack for lack in lacks.values() if lack))
    return names


def _lack(name: str, rule: SessionRule) -> str | None:
    """Why an engine can't do what the rule says, where that is known without importing it."""
    engine = ENGINES[name]
    if engine.opens != _kind_of(rule.path):
        if engine.opens == "bundle":
            return (
                f"{rule.path}: engine {name} opens the folder of a bundle; "
                f"`retinaserve export {rule.path} --out DIR` makes one of a checkpoint"
            )
        return f"{rule.path}: engine {name} opens the file of a checkpoint, not a bundle"
    if rule.device.kind not in engine.extras:
        return f"engine {name} needs a GPU: give --device cuda:0"
    if importlib.util.find_spec(engine.package) is None:
        return (
            f"engine {name} needs {engine.package}, which is not installed: "
            f"pip install 'retinaserve[{engine.extras[rule.device.kind]}]' brings it"
        )
    return None


def _check_options(rule: SessionRule) -> None:
    if _kind_of(rule.path) == "bundle" and (rule.scales or rule.compiled):
        given = "scales" if rule.scales else "torch.compile"
        raise InputError(
            f"{given}: accepted with a checkpoint of engine torch; {rule.path} is a bundle, whose "
            "scales and graphs were chosen when it was exported"
        )


def _kind_of(path: Path) -> Opens:
    """A file is taken for a checkpoint, all else for a bundle's folder, there or not."""
    return "checkpoint" if path.is_file() else "bundle"
