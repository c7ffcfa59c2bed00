"""The TensorRT session against a GPU that only checks; see `fake_gpu`."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.engines.session import DeviceFault, OutOfMemory, SessionError
from export.engines.tensorrt_plans import (
    BuildRule,
    Environment,
    Plan,
    PlanFacts,
    facts_sha256,
    write_plan,
)
from export.engines.tensorrt_session import TensorRTSession
from export.manifest import Bundle, BundleError, manifest_of
from export.to_tensorrt import build_plan
from model.errors import InputError
from model.letterbox import Canvas
from tests.export.engines.fake_gpu import (
    GARBAGE,
    BrokenRule,
    FakeContext,
    FakeCuda,
    FakeEngine,
    FakeTensorRT,
)

CANVASES = ["32x64", "64x32", "64x64"]
MANIFEST = manifest_of(
    {
        "name": "fake",
        "version": "1",
        "classes": ["a", "b"],
        "anchors": {},
        "canvases": {32: CANVASES[:2], 64: CANVASES[2:]},
        "default_scale": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "thresholds": {"pre_nms_top_k": 1, "max_detections": 4},
        "graphs": [
            {
                "file": "fake-fp16-tensor.onnx",
                "precision": "fp16",
                "flavour": "tensor",
                "sha256": "a" * 64,
                "opset": 18,
                "parity": {"images": 3},
            }
        ],
    }
)
HERE = Environment(tensorrt="11.4.0.106", gpu="NVIDIA L4", capability="8.9", driver="13.0")
DEVICE = 1


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda(DEVICE)


@pytest.fixture
def trt(cuda: FakeCuda) -> FakeTensorRT:
    return FakeTensorRT(cuda)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, MANIFEST)


def make_plan(trt: FakeTensorRT, folder: Path, rule: BuildRule | None = None, **facts: Any) -> Plan:
    rule = rule or BuildRule(max_batch=4)
    log = FakeLog(trt)
    content, _ = build_plan(trt, log, b"graph", [Canvas.parse(text) for text in CANVASES], rule)
    given: dict[str, Any] = {
        "file": "fake-fp16-tensor.onnx",
        "graph_sha256": "a" * 64,
        "facts_sha256": facts_sha256(MANIFEST, MANIFEST.graphs[0]),
        "precision": "fp16",
        "environment": HERE,
        "rule": rule,
        "canvases": CANVASES,
    }
    return write_plan(folder, PlanFacts(**(given | facts)), content)


class FakeLog:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.errors: list[str] = []

    def log(self, severity: int, msg: str) -> None:
        self.errors.append(msg)


@pytest.fixture
def session(trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle) -> TensorRTSession:
    return TensorRTSession(bundle, make_plan(trt, bundle.folder), trt, cuda, DEVICE)


def images(canvas: str, *firsts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A batch whose first pixels are (count, class, not converged); valid sizes differ."""
    height, width = Canvas.parse(canvas)
    batch = np.zeros((len(firsts), height, width, 3), np.uint8)
    batch[:, 0, 0] = np.array(firsts, np.uint8).reshape(-1, 3)
    return batch, np.array([(height - i, width) for i in range(len(firsts))], np.int64)


def run(session: TensorRTSession, canvas: str, *firsts: tuple[int, int, int]) -> list[Any]:
    return [
        (one.boxes.tolist(), one.scores.tolist(), one.classes.tolist())
        for one in session.run(*images(canvas, *firsts), 0.25, 0.5)
    ]


TWO = ([[0, 0, 32, 64], [1, 0, 32, 64]], [0.75, 0.6875], [1, 1])
NONE = ([], [], [])


def test_each_image_gets_its_own_answer(session: TensorRTSession) -> None:
    three = ([[0, 0, 30, 64], [1, 0, 30, 64], [2, 0, 30, 64]], [0.75, 0.6875, 0.625], [0, 0, 0])
    assert run(session, "32x64", (2, 1, 0), (0, 0, 0), (3, 0, 0)) == [TWO, NONE, three]
    assert (session.engine, session.precision, session.max_batch) == (
        "tensorrt-11.4.0.106", "fp16", 4,
    )  # fmt: skip
    assert session.parity == {"images": 3}


def test_a_recording_answers_as_the_first_run_did(session: TensorRTSession, cuda: FakeCuda) -> None:
    assert run(session, "32x64", (2, 1, 0)) == [TWO]
    assert (len(cuda.graphs), cuda.launches) == (1, 0)
    assert run(session, "32x64", (0, 0, 0)) == [NONE]
    assert run(session, "32x64", (2, 1, 0)) == [TWO]
    assert (len(cuda.graphs), cuda.launches) == (1, 2)


def test_recordings_of_several_shapes_do_not_disturb_each_other(
    session: TensorRTSession, cuda: FakeCuda
) -> None:
    for _ in range(3):
        assert run(session, "32x64", (2, 1, 0)) == [TWO]
        assert run(session, "64x64", (0, 0, 0), (1, 0, 0))[1][0] == [[0, 0, 63, 64]]
        assert run(session, "64x32", (1, 1, 0)) == [([[0, 0, 64, 32]], [0.75], [1])]
        assert run(session, "32x64", (2, 1, 0), (2, 1, 0))[0] == TWO
    assert (len(cuda.graphs), cuda.launches) == (4, 8)


def test_thresholds_are_inputs_of_every_run(session: TensorRTSession) -> None:
    for threshold in (0.25, 0.05, 0.45):
        (found,) = session.run(*images("32x64", (1, 0, 0)), threshold, 0.5)
        assert found.scores.tolist() == pytest.approx([threshold + 0.5])


def test_detections_outlive_the_next_run(session: TensorRTSession) -> None:
    (first,) = session.run(*images("32x64", (2, 1, 0)), 0.25, 0.5)
    kept = first.boxes.tolist()
    session.run(*images("32x64", (0, 0, 0)), 0.25, 0.5)
    assert first.boxes.tolist() == kept


def test_an_image_that_did_not_converge_gets_exact_nms(session: TensorRTSession) -> None:
    exact = ([[0, 0, 10, 9], [20, 20, 30, 30]], [0.875, 0.75], [1, 1])
    for _ in range(2):  # as it is, and launched
        assert run(session, "32x64", (2, 1, 0), (4, 1, 1)) == [TWO, exact]


def test_runs_from_any_thread(session: TensorRTSession) -> None:
    found: list[Any] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(run(session, "32x64", (2, 1, 0))))
        thread.start()
        thread.join()
    assert found == [[TWO], [TWO]]


def test_memory_does_not_grow_with_shapes_and_is_given_back(
    trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle
) -> None:
    session = TensorRTSession(bundle, make_plan(trt, bundle.folder), trt, cuda, DEVICE)
    opened = (len(cuda.memory), len(cuda.pinned))
    for canvas in CANVASES:
        run(session, canvas, (1, 0, 0))
        run(session, canvas, (1, 0, 0), (1, 0, 0))
    assert (len(cuda.memory), len(cuda.pinned)) == opened
    del session
    gc.collect()
    assert cuda.allocated == 0


def test_an_opening_that_fails_gives_back_what_it_took(
    trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle
) -> None:
    cuda.fail["pinned_memory"] = "cudaErrorMemoryAllocation"
    with pytest.raises(OutOfMemory):
        TensorRTSession(bundle, make_plan(trt, bundle.folder), trt, cuda, DEVICE)
    gc.collect()
    assert cuda.allocated == 0


@pytest.mark.parametrize(
    ("canvas", "batch", "said"),
    [
        ("96x32", 1, "canvas 96x32: the TensorRT plan has 32x64, 64x32, 64x64"),
        ("32x64", 5, "batch of 5: the TensorRT plan takes 1 to 4"),
        ("32x64", 0, "batch of 0: the TensorRT plan takes 1 to 4"),
    ],
)
def test_what_the_plan_lacks_is_a_sentence(
    session: TensorRTSession, canvas: str, batch: int, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(session, canvas, *[(1, 0, 0)] * batch)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cudaErrorMemoryAllocation", OutOfMemory),
        ("cudaErrorIllegalAddress", DeviceFault),
        ("cudaErrorInvalidValue", SessionError),
    ],
)
@pytest.mark.parametrize("call", ["synchronize", "upload"])
def test_cuda_errors_are_told_apart(
    session: TensorRTSession, cuda: FakeCuda, name: str, kind: type, call: str
) -> None:
    cuda.fail[call] = name
    with pytest.raises(SessionError) as told:
        run(session, "32x64", (1, 0, 0))
    assert type(told.value) is kind
    assert str(told.value.__cause__) == f"{call}: {name}"


@pytest.mark.parametrize(
    ("pending", "kind"), [(None, SessionError), ("cudaErrorAssert", DeviceFault)]
)
def test_a_run_that_tensorrt_refuses_carries_its_reason(
    session: TensorRTSession, trt: FakeTensorRT, cuda: FakeCuda, pending: str | None, kind: type
) -> None:
    trt.engines[0].fail_runs, cuda.pending_error = True, pending
    with pytest.raises(SessionError) as told:
        run(session, "32x64", (1, 0, 0))
    assert type(told.value) is kind
    reason = pending or "the run failed"
    assert reason in str(told.value.__cause__)
    assert reason not in str(told.value)


def test_after_a_failed_batch_the_next_one_runs(session: TensorRTSession, cuda: FakeCuda) -> None:
    cuda.fail["upload"] = "cudaErrorInvalidValue"
    with pytest.raises(SessionError):
        run(session, "32x64", (1, 0, 0))
    cuda.fail.clear()
    assert run(session, "32x64", (2, 1, 0)) == [TWO]


@pytest.mark.parametrize("call", ["begin_capture", "end_capture"])
def test_what_cannot_be_recorded_runs_without_and_says_so_once(
    session: TensorRTSession, cuda: FakeCuda, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    cuda.fail[call] = "cudaErrorStreamCaptureUnsupported"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert run(session, "32x64", (2, 1, 0)) == [TWO]
    assert cuda.launches == 0
    (record,) = caplog.records
    assert "canvas 32x64 runs without a CUDA graph" in record.message


def test_a_version_compatible_plan_may_bring_its_runtime(
    trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle
) -> None:
    rule = BuildRule(max_batch=4, version_compatible=True)
    plan = make_plan(trt, bundle.folder, rule)
    assert run(TensorRTSession(bundle, plan, trt, cuda, DEVICE), "32x64", (2, 1, 0)) == [TWO]


def test_a_plan_that_tensorrt_cannot_load_is_a_sentence(
    trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle
) -> None:
    plan = make_plan(trt, bundle.folder, BuildRule(max_batch=4, version_compatible=True))
    # Told that it is not version compatible, the fake refuses the runtime that it brings.
    facts = plan.facts.model_copy(update={"rule": BuildRule(max_batch=4)})
    plan = write_plan(bundle.folder, facts, plan.read())
    with pytest.raises(BundleError, match=r"can't load this plan \(host code is not allowed\)"):
        TensorRTSession(bundle, plan, trt, cuda, DEVICE)


def test_an_edited_manifest_is_refused(trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle) -> None:
    plan = make_plan(trt, bundle.folder)
    edited = Bundle(bundle.folder, MANIFEST.model_copy(update={"classes": ["b", "a"]}))
    with pytest.raises(BundleError, match="says other things than it did when this plan was built"):
        TensorRTSession(edited, plan, trt, cuda, DEVICE)


def test_a_plan_with_other_tensors_is_refused(
    trt: FakeTensorRT, cuda: FakeCuda, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "num_io_tensors", 12)
    with pytest.raises(
        BundleError, match=r"not those of this version's graphs \(candidate_classes"
    ):
        TensorRTSession(bundle, make_plan(trt, bundle.folder), trt, cuda, DEVICE)


def lost(owner: type, method: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A session that forgets a call."""
    return lambda patch: patch.setattr(owner, method, lambda *args: True)


def shifted_address(patch: pytest.MonkeyPatch) -> None:
    right = FakeContext.set_tensor_address
    patch.setattr(
        FakeContext, "set_tensor_address", lambda self, name, at: right(self, name, at + 8)
    )


def first_thing_recorded(patch: pytest.MonkeyPatch) -> None:
    """The capture comes before the warm run."""
    right = TensorRTSession._program

    def program(self: TensorRTSession, canvas: Canvas, batch: int) -> Any:
        found = right(self, canvas, batch)
        if found.graph is None:
            self._record(found, canvas)
        return found

    patch.setattr(TensorRTSession, "_program", program)


def one_context_for_all(patch: pytest.MonkeyPatch) -> None:
    """Shapes change under a recording."""
    right = FakeEngine.create_execution_context
    patch.setattr(
        FakeEngine,
        "create_execution_context",
        lambda self, strategy: self.contexts[0] if self.contexts else right(self, strategy),
    )


def shape_before_profile(patch: pytest.MonkeyPatch) -> None:
    lost(FakeContext, "set_optimization_profile_async")(patch)


def pageable_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeCuda, "pinned_memory", lambda self, size: np.zeros(size, np.uint8))
    patch.setattr(FakeCuda, "free_pinned", lambda self, memory: None)


def memory_too_small(patch: pytest.MonkeyPatch) -> None:
    right = FakeCuda.device_memory
    patch.setattr(FakeCuda, "device_memory", lambda self, size: right(self, max(1, size // 2)))


def allocation_in_capture(patch: pytest.MonkeyPatch) -> None:
    right = TensorRTSession._enqueue

    def enqueue(self: TensorRTSession, program: Any) -> None:
        right(self, program)
        self._memory.device(1)

    patch.setattr(TensorRTSession, "_enqueue", enqueue)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lost(FakeContext, "set_tensor_address"), "a run without the addresses of"),
        (lost(FakeContext, "set_device_memory"), "a run without scratch memory"),
        (shape_before_profile, "the shape of images was set before the profile"),
        (shifted_address, "not aligned to 256 bytes"),
        (first_thing_recorded, "captured before a run had flushed deferred changes"),
        (one_context_for_all, "launched after shapes or addresses had changed"),
        (pageable_memory, "an asynchronous copy of memory that is not pinned"),
        (memory_too_small, "are not memory of the device"),
        (allocation_in_capture, "an allocation during capture"),
        (lost(FakeCuda, "set_device"), "the thread's current device is another one"),
    ],
)
def test_the_fake_catches_a_planted_fault(
    trt: FakeTensorRT,
    cuda: FakeCuda,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    said: str,
) -> None:
    plan = make_plan(trt, bundle.folder)
    plant(monkeypatch)
    with pytest.raises(BrokenRule, match=said):  # noqa: PT012  # a fault may show up late
        session = TensorRTSession(bundle, plan, trt, cuda, DEVICE)
        for _ in range(2):
            run(session, "32x64", (1, 0, 0))
            run(session, "64x64", (1, 0, 0), (1, 0, 0))
    monkeypatch.undo()


def test_the_fake_shows_garbage_to_who_does_not_wait(
    session: TensorRTSession, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        "export.engines.tensorrt_session.settled_detections",
        lambda found, *rest: seen.append(found[0]),
    )
    monkeypatch.setattr(cuda, "synchronize", lambda stream: None)
    session.run(*images("32x64", (2, 1, 0)), 0.25, 0.5)
    assert set(seen[0].view(np.uint8).tolist()) == {GARBAGE}


def test_a_shape_outside_the_profile_fails_as_in_tensorrt(
    session: TensorRTSession, trt: FakeTensorRT
) -> None:
    trt.engines[0].profiles.reverse()  # not the order that the plan's description tells
    with pytest.raises(SessionError) as told:
        run(session, "32x64", (1, 0, 0))
    assert "images: (1, 32, 64, 3) is outside the profile" in str(told.value.__cause__)
