"""The choice among engines, with stand-ins that find the same, something else, or nothing."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import pytest

from export.engines import choice
from export.engines.choice import fastest_session
from export.engines.device import Device
from export.engines.onnxruntime_session import OnnxRuntimeSession
from export.engines.session import Detections, SessionError, SessionRule
from export.manifest import Bundle, Precision
from model.errors import InputError

Change = Callable[[Detections], Detections]


class Engine:
    """The bundle in ONNX Runtime, slower by a fake clock and changed as a test says."""

    parity: dict[str, float] = {}

    def __init__(self, bundle: Bundle, name: str, run_ms: float, change: Change, clock) -> None:
        self._session = OnnxRuntimeSession(bundle, "fp32", threads=1)
        self._run_ms, self._change, self._clock = run_ms, change, clock
        self.manifest = bundle.manifest
        self.engine = name
        self.precision: Precision = "fp32"

    def run(self, *batch) -> list[Detections]:
        self._clock.now_s += self._run_ms / 1000.0
        return [self._change(one) for one in self._session.run(*batch)]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


def same(found: Detections) -> Detections:
    return found


def moved(found: Detections) -> Detections:
    return dataclasses.replace(found, boxes=found.boxes + np.float32(3.0))


def lossy(found: Detections) -> Detections:
    return found.where(slice(0, len(found) // 2))


@pytest.fixture
def choose(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    """`choose(a=(run_ms, change), b=error)`: the engine chosen among these."""
    clock = Clock()
    monkeypatch.setattr(choice, "time", clock)

    def chosen(**engines):
        def open_engine(name: str, rule: SessionRule) -> Engine:
            assert rule.path == tiny_bundle.folder
            if isinstance(engines[name], Exception):
                raise engines[name]
            run_ms, change = engines[name]
            return Engine(tiny_bundle, name, run_ms, change, clock)

        rule = SessionRule(tiny_bundle.folder, Device("cuda", 0), threads=1)
        return fastest_session(list(engines), rule, open_engine)

    return chosen


def test_the_fastest_that_agrees_is_taken_and_the_log_says_why(
    choose, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "export.engines.choice"):
        session = choose(
            slow=(7.0, same),
            wrong=(1.0, moved),
            fast=(2.0, same),
            absent=InputError("no such provider"),
        )
    assert session.engine == "fast"
    (record,) = caplog.records
    text = record.getMessage()
    assert "engine fast on cuda:0" in text
    assert "slow (fp32) 7.00 ms" in text
    assert "fast (fp32) 2.00 ms" in text
    assert "wrong refused: " in text
    assert "absent refused: no such provider" in text


@pytest.mark.parametrize("change", [moved, lossy])
def test_an_engine_that_finds_something_else_is_never_taken(choose, change: Change) -> None:
    with pytest.raises(InputError, match=r"no engine can serve .* on cuda:0: wrong refused: "):
        choose(wrong=(1.0, change))


def test_an_engine_that_fails_on_a_batch_is_refused(choose) -> None:
    def fails(found: Detections) -> Detections:
        raise SessionError("it broke")

    assert choose(broken=(1.0, fails), sound=(2.0, same)).engine == "sound"


def test_a_model_that_finds_nothing_in_the_pictures_is_compared_below_its_threshold(
    tiny_bundle: Bundle, choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds = tiny_bundle.manifest.thresholds.model_copy(update={"score_threshold": 1.0})
    blind = tiny_bundle.manifest.model_copy(update={"thresholds": thresholds})
    bundle = dataclasses.replace(tiny_bundle, manifest=blind)
    monkeypatch.setattr(choice, "read_bundle", lambda _: bundle)
    monkeypatch.setattr(type(blind), "check_facts", lambda *_: None)
    assert choose(right=(5.0, same), wrong=(1.0, moved)).engine == "right"
