"""What ONNX Runtime's settings cost and bring on this machine's CPU: time, memory, decoding beside.

    python -m loadtest.cli.engine_settings --seconds 120

The settings that `export.engines.onnxruntime_session` serves with are the first row; every other
row changes one of them. Each runs in a process of its own, and they take turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from export.engines.onnxruntime_session import (
    ERRORS_ONLY,
    load_graph,
    session_options,
    shrinking,
)
from export.manifest import Precision, read_bundle
from loadtest.bench.prepared import pictures_to_time
from loadtest.bench.spread import Spread
from model.cores import available_cores
from model.machine import cpu_name
from service.pictures.images import read_upright
from service.settings import packaged_bundle

MIN_ROUNDS = 5
RUNS = 5
"""Runs in a row at each turn: one alone would find the cores' caches full of another process."""

WARM_BATCH = 2
"""As the service warms: every canvas with one and with two images."""


@dataclass(frozen=True)
class Variant:
    """One change to the settings that are served, or to the process's environment."""

    change: Callable[[ort.SessionOptions], None] = lambda _: None
    env: dict[str, str] = field(default_factory=dict)
    shrink: bool = True
    """Whether a shape's first run gives its memory back, as served."""


def _entry(key: str, value: str) -> Callable[[ort.SessionOptions], None]:
    return lambda options: options.add_session_config_entry(key, value)


def _set(**attributes: Any) -> Callable[[ort.SessionOptions], None]:
    def change(options: ort.SessionOptions) -> None:
        for name, value in attributes.items():
            setattr(options, name, value)

    return change


def _exact_arena(options: ort.SessionOptions) -> None:
    """An arena that grows by what is asked for, instead of doubling."""
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": 1}))
    options.add_session_config_entry("session.use_env_allocators", "1")


VARIANTS: dict[str, Variant] = {
    "as served": Variant(),
    "threads spin": Variant(_entry("session.intra_op.allow_spinning", "1")),
    "no arena": Variant(_set(enable_cpu_mem_arena=False), shrink=False),
    "exact arena": Variant(_exact_arena),
    "memory pattern": Variant(_set(enable_mem_pattern=True)),
    "no shrinking": Variant(shrink=False),
    "one malloc arena": Variant(env={"MALLOC_ARENA_MAX": "1"}),
    "dynamic blocks": Variant(_entry("session.dynamic_block_base", "4")),
    "nodes in parallel": Variant(
        _set(execution_mode=ort.ExecutionMode.ORT_PARALLEL, inter_op_num_threads=2)
    ),
    "no prepacking": Variant(_entry("session.disable_prepacking", "1")),
    "denormals are zero": Variant(_entry("session.set_denormal_as_zero", "1")),
    "a thread less": Variant(lambda o: _set(intra_op_num_threads=o.intra_op_num_threads - 1)(o)),
}


class Turn(NamedTuple):
    """Milliseconds a run, and pictures decoded a second beside it."""

    run_ms: float
    decoded_s: float


class _Held:
    session: Any
    feed: dict[str, Any]
    picture: bytes


def _open(
    name: str, bundle: Path, precision: Precision | None, threads: int, picture: bytes
) -> None:
    """Opens and warms a variant in this process; `picture` is what its decoders will decode."""
    ort.set_default_logger_severity(ERRORS_ONLY)  # it warns of each setting that is changed
    held = read_bundle(bundle)
    options = session_options(threads)
    VARIANTS[name].change(options)
    graph = held.manifest.graph_of(precision)
    _Held.session = load_graph(held, graph, options, ["CPUExecutionProvider"])
    canvases = held.manifest.canvases_by_scale
    for canvas in [canvas for group in canvases.values() for canvas in group]:
        for batch in range(1, WARM_BATCH + 1):
            images = np.full((batch, *canvas, 3), 128, np.uint8)
            sizes = np.array([canvas] * batch, np.int64)
            feed = {"images": images, "image_sizes": sizes}
            _Held.session.run(None, feed, shrinking() if VARIANTS[name].shrink else None)
    canvas = canvases[held.manifest.default_scale][0]
    noise = np.random.default_rng(0).integers(0, 256, (1, *canvas, 3), np.uint8)
    _Held.feed = {"images": noise, "image_sizes": np.array([canvas], np.int64)}
    _Held.picture = picture


def _turn(decoders: int) -> Turn:
    """A few runs, with so many threads that decode pictures all the while."""
    done = threading.Event()
    counts = [0] * decoders

    def decode(index: int) -> None:
        while not done.is_set():
            read_upright(_Held.picture)
            counts[index] += 1

    threads = [threading.Thread(target=decode, args=(index,)) for index in range(decoders)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    for _ in range(RUNS):
        _Held.session.run(None, _Held.feed)
    seconds = time.perf_counter() - began
    done.set()
    for thread in threads:
        thread.join()
    return Turn(seconds * 1000.0 / RUNS, sum(counts) / seconds)


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(
    names: list[str],
    bundle: Path,
    precision: Precision | None,
    threads: int,
    decoders: int,
    seconds: float,
) -> tuple[dict[str, list[Turn]], dict[str, float]]:
    """The turns of each variant, and the MB that each holds after them."""
    context = multiprocessing.get_context("spawn")  # for an environment and memory of its own
    picture = pictures_to_time(None)[0][0]
    with ExitStack() as stack:
        pools = {}
        for name in names:
            os.environ.update(VARIANTS[name].env)
            pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
            pool.submit(_open, name, bundle, precision, threads, picture).result()
            for key in VARIANTS[name].env:
                del os.environ[key]
            pools[name] = pool
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        began = time.monotonic()
        number = 0
        while number < MIN_ROUNDS or time.monotonic() - began < seconds:
            for name in names[:: 1 if number % 2 else -1]:
                turns[name].append(pools[name].submit(_turn, decoders).result())
            number += 1
        return turns, {name: pool.submit(_rss_mb).result() for name, pool in pools.items()}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, default=packaged_bundle())
    parser.add_argument("--precision", help="one of the bundle's (its first)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="(%(default)s)")
    parser.add_argument(
        "--decoders", type=int, default=0, help="threads that decode meanwhile (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="(%(default)g)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=VARIANTS, default=list(VARIANTS)
    )
    args = parser.parse_args()
    names = ["as served", *(name for name in args.only if name != "as served")]
    if args.threads == 1:
        names = [name for name in names if name != "a thread less"]
    turns, rss_mb = measure(
        names, args.bundle, args.precision, args.threads, args.decoders, args.seconds
    )
    served = [turn.run_ms for turn in turns["as served"]]
    print(f"{cpu_name()}, {args.threads} threads, ONNX Runtime {ort.__version__}, "
          f"{len(served)} rounds of {RUNS} runs, {args.decoders} decoders")  # fmt: skip
    print(f"{'':24}{'ms':>8}{'against served':>26}{'decoded/s':>12}{'MB':>8}")
    for name in names:
        own = [turn.run_ms for turn in turns[name]]
        ratio = Spread.of([mine / base for mine, base in zip(own, served, strict=True)])
        decoded = Spread.of([turn.decoded_s for turn in turns[name]]).median
        print(
            f"{name:24}{Spread.of(own).median:8.1f}{ratio.text():>26}"
            f"{decoded:12.0f}{rss_mb[name]:8.0f}"
        )


if __name__ == "__main__":
    main()
