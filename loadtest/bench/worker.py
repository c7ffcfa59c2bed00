"""What happens in an engine's own process: it opens the engine, runs batches, and tells the time.

Each function is called by `loadtest.bench.turns` in that process, where one engine is held.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from export.engines.registry import open_session
from export.engines.session import Session
from export.manifest import Precision, read_bundle
from loadtest.bench.memory import peak_rss_mb
from loadtest.bench.prepared import Prepared
from loadtest.bench.stages import Shares
from model.cores import available_cores
from service.detections import Options, finish

EAGER = "eager"
"""The plain model in torch, as a script would run it: no engine of the service, a yardstick."""


@dataclass(frozen=True)
class Contender:
    """What takes part: an engine with a model in a precision. `path`: a bundle or a checkpoint."""

    engine: str
    precision: Precision
    path: Path
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


class Took(NamedTuple):
    """Milliseconds per image in the `session` and in `finish` after it; `found` detections."""

    session: float
    finish: float
    found: float


class _Held:
    """The engine of this process and the images that it is to run."""

    contender: Contender
    session: Session
    network: Any
    """What a session of torch on the CPU runs; None in others."""
    prepared: Prepared
    batch: int
    options: Options


def ignore_interrupts() -> None:
    """Ctrl-C goes to every process of the terminal; the parent is the one to act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def open_engine(contender: Contender, scales: tuple[int, ...]) -> str:
    """Opens the engine; its name and version. `scales` are for a checkpoint."""
    _Held.contender, _Held.network = contender, None
    if contender.path.is_file() and contender.device == "cpu":
        from loadtest.bench.torch_stages import open_network

        _Held.session, _Held.network = open_network(
            contender.path, contender.precision, scales, plain=contender.engine == EAGER
        )
    else:
        _Held.session = open_session(
            contender.path,
            contender.engine,
            contender.device,
            contender.precision,
            available_cores(),
            scales=() if contender.path.is_dir() else scales,
        )
    return _Held.session.engine


def load(prepared: Prepared, batch: int, options: Options) -> None:
    """The images of the runs to come."""
    _Held.prepared, _Held.batch, _Held.options = prepared, batch, options


def run(number: int) -> Took:
    """Runs the batch with this number."""
    images, sizes, places = _Held.prepared.batch(number, _Held.batch)
    thresholds = _Held.options.engine_thresholds(_Held.session.manifest)
    start = time.perf_counter()
    detections = _Held.session.run(images, sizes, *thresholds)
    ran = time.perf_counter()
    finished = [
        finish(one, place, _Held.options) for one, place in zip(detections, places, strict=True)
    ]
    done = time.perf_counter()
    per_image = 1000.0 / len(images)
    found = sum(map(len, finished)) / len(images)
    return Took((ran - start) * per_image, (done - ran) * per_image, found)


def memory_mb() -> float | None:
    """The most memory that this process had so far."""
    return peak_rss_mb()


def stage_shares() -> Shares:
    """The share of the session's time in each stage; empty where the engine does not tell."""
    images, sizes, _ = _Held.prepared.batch(0, _Held.batch)
    if _Held.network is not None:
        from loadtest.bench.torch_stages import stage_shares as shares_of_network

        return shares_of_network(_Held.session, _Held.network, images, sizes)
    if graph := _graph():
        from loadtest.bench.graph_profile import stage_shares as shares_of_graph

        return shares_of_graph(graph, images, sizes, available_cores())
    return {}


def flops() -> int | None:
    """Floating point operations for one image of those loaded; None where it can't be told."""
    images, sizes, places = _Held.prepared.batch(0, 1)
    if _Held.network is not None:
        from loadtest.bench.torch_stages import flops_of as flops_of_network

        return flops_of_network(_Held.network.architecture, places[0].canvas)
    if graph := _graph():
        from loadtest.bench.graph_profile import flops_of as flops_of_graph

        return flops_of_graph(graph, images, sizes, available_cores())
    return None


def _graph() -> Path | None:
    """The file of the graph that ONNX Runtime runs on the CPU; None for other engines."""
    held = _Held.contender
    if held.engine != "onnxruntime" or held.device != "cpu":
        return None
    bundle = read_bundle(held.path)
    return bundle.graph_path(bundle.manifest.graph_of(held.precision))
