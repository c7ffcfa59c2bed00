"""Turns, with engines that only note when they are asked."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench import worker
from loadtest.bench.turns import Engine, opened, take_turns
from loadtest.bench.worker import Contender, Took
from model.errors import InputError


class NotingEngine(Engine):
    """Answers without a process."""

    def __init__(self, name: str, asked: list[tuple[str, int]]) -> None:
        self.name, self.asked = name, asked

    def ask(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if task is worker.run:
            self.asked.append((self.name, args[0]))
            return Took(float(args[0]), 0.0, 1.0)
        return None


def test_order_turns_round_every_second_round_and_warm_up_does_not_count() -> None:
    asked: list[tuple[str, int]] = []
    engines = [NotingEngine(name, asked) for name in "ab"]
    spent: list[float] = []
    times = take_turns(engines, None, 1, None, 0.0, spent.append)  # type: ignore[arg-type]
    order = [number for _, number in asked[::2]]
    assert order == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert "".join(name for name, _ in asked) == "abbaabbaabbaabba"
    assert [took.session for took in times[0]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert times[0] == times[1]
    assert len(spent) == 8


def test_process_that_dies_is_a_sentence(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        engine = Engine(Contender("onnxruntime", "int8", tmp_path), process)
        with pytest.raises(InputError, match="onnxruntime int8: its process ended without a word"):
            engine.ask(os._exit, 1)


def test_bad_input_of_an_engine_comes_through(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no bundle here"),
        opened([Contender("onnxruntime", "int8", tmp_path)], ()),
    ):
        pass
