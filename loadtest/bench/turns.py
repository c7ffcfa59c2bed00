"""Engines take turns on the same images, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

from loadtest.bench import worker
from loadtest.bench.prepared import Prepared
from loadtest.bench.worker import Contender, Took
from model.errors import InputError
from service.detections import Options

MIN_ROUNDS = 5
WARM_UP_RUNS = 3

P = ParamSpec("P")
T = TypeVar("T")


class Engine:
    """A contender's process: its memory is its own, and no other engine's threads are in it."""

    def __init__(self, contender: Contender, process: ProcessPoolExecutor) -> None:
        self.contender = contender
        self._process = process
        self.version = ""

    def ask(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function of `loadtest.bench.worker` returns there; InputError if it died."""
        try:
            return self._process.submit(task, *args, **kwargs).result()
        except BrokenProcessPool:
            raise InputError(
                f"{self.contender}: its process ended without a word; is there memory enough? "
                "A smaller --batch or smaller --scales need less"
            ) from None


@contextmanager
def opened(contenders: Sequence[Contender], scales: tuple[int, ...]) -> Iterator[list[Engine]]:
    """The engines, each opened in its own new process."""
    context = multiprocessing.get_context("spawn")  # a fork would share what it then writes to
    with ExitStack() as stack:
        engines = []
        for contender in contenders:
            process = stack.enter_context(
                ProcessPoolExecutor(1, mp_context=context, initializer=worker.ignore_interrupts)
            )
            engine = Engine(contender, process)
            engine.version = engine.ask(worker.open_engine, contender, scales)
            engines.append(engine)
        yield engines


def take_turns(
    engines: Sequence[Engine],
    prepared: Prepared,
    batch: int,
    options: Options,
    seconds: float,
    tick: Callable[[float], None],
) -> list[list[Took]]:
    """The times of every engine on the same batches, round by round, for `seconds` in all.

    In turns, and in the other order every second round, so that a clock that slows down or a noisy
    neighbour meets all of them alike. After each round `tick` is told the seconds spent so far.
    """
    for engine in engines:
        engine.ask(worker.load, prepared, batch, options)
    times: list[list[Took]] = [[] for _ in engines]
    number = -WARM_UP_RUNS
    spent = 0.0
    begin = time.monotonic()
    while number < MIN_ROUNDS or spent < seconds:
        turns = list(zip(engines, times, strict=True))
        for engine, own in turns[:: 1 if number % 2 else -1]:
            took = engine.ask(worker.run, number)
            if number >= 0:
                own.append(took)
        number += 1
        spent = time.monotonic() - begin
        tick(spent)
    return times
