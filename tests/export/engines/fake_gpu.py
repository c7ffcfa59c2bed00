"""A GPU that only checks: TensorRT and CUDA with their rules, and no arithmetic to speak of.

What is queued on a stream happens when the stream is synchronised, memory starts as garbage, and a
broken rule is a `BrokenRule`, where the real ones would crash or go on with wrong data. The
'network' reads its answer from the first pixel of each image: see `answer`.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from export.contract import INPUTS, OUTPUTS
from export.engines.tensorrt_cuda import CudaError, Gpu

GARBAGE = 0xCD
ROWS, CANDIDATES = 4, 3

TENSORS = {
    "images": (np.uint8, (-1, -1, -1, 3)),
    "image_sizes": (np.int64, (-1, 2)),
    "score_threshold": (np.float32, (1,)),
    "iou_threshold": (np.float32, (1,)),
    "max_detections": (np.int64, (1,)),
    "num_detections": (np.int64, (-1,)),
    "boxes": (np.float32, (-1, ROWS, 4)),
    "scores": (np.float32, (-1, ROWS)),
    "classes": (np.int64, (-1, ROWS)),
    "converged": (np.bool_, (-1,)),
    "candidate_boxes": (np.float32, (-1, CANDIDATES, 4)),
    "candidate_scores": (np.float32, (-1, CANDIDATES)),
    "candidate_classes": (np.int64, (-1, CANDIDATES)),
}


def answer(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the network computes: pixel (count, class, not converged) decides for each image.

    Detection j of an image has the box (j, 0, height, width) and the score threshold + .5 - j / 16.
    Candidates: two boxes of which the second overlaps the first by .9, and one elsewhere.
    """
    batch = len(given["images"])
    found = {
        name: np.zeros((batch, *TENSORS[name][1][1:]), TENSORS[name][0])
        for name in OUTPUTS["tensor"]
    }
    for i, image in enumerate(given["images"]):
        count, label, tangled = image[0, 0].tolist()
        count = min(count, ROWS, given["max_detections"].item())
        found["num_detections"][i] = count
        found["converged"][i] = not tangled
        for j in range(count):
            found["boxes"][i, j] = (j, 0, *given["image_sizes"][i])
            found["scores"][i, j] = given["score_threshold"].item() + 0.5 - j / 16
            found["classes"][i, j] = label
        found["candidate_boxes"][i] = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]
        found["candidate_scores"][i] = [0.5, 0.875, 0.75]
        found["candidate_classes"][i] = label
    return found


class BrokenRule(AssertionError):
    """Something that TensorRT or CUDA forbids."""


def rule(kept: object, what: str) -> None:
    if not kept:
        raise BrokenRule(what)


Work = Callable[[], None]


class FakeCuda:
    """`export.engines.tensorrt_cuda.Cuda` in this process' memory.

    `device`: the only one that memory and streams may be used on. `fail` maps a method to the name
    of the CUDA error that it raises. `allocated` counts what has not been given back.
    """

    def __init__(self, device: int = 0) -> None:
        self.device, self.fail = device, {}
        self._current = threading.local()
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.queues: dict[int, list[Work]] = {}
        self.recording: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.launches = 0
        self.pending_error: str | None = None
        self._next = 1 << 20

    @property
    def allocated(self) -> int:
        return len(self.memory) + len(self.pinned) + len(self.queues) + len(self.graphs)

    def gpu(self, index: int) -> Gpu:
        return Gpu("NVIDIA L4", "8.9", "13.0")

    def set_device(self, index: int) -> None:
        self._current.index = index

    def check(self, call: str) -> None:
        rule(
            getattr(self._current, "index", 0) == self.device,
            f"{call}: the thread's current device is another one",
        )
        if name := self.fail.get(call):
            raise CudaError(call, name)

    def _new(self, size: int) -> int:
        rule(size > 0, "an allocation of nothing")
        rule(not self.recording, "an allocation during capture")
        address, self._next = self._next, self._next + (size + 255) // 256 * 256
        return address

    def device_memory(self, size: int) -> int:
        self.check("device_memory")
        address = self._new(size)
        self.memory[address] = np.full(size, GARBAGE, np.uint8)
        return address

    def free_device(self, address: int) -> None:
        rule(address in self.memory, "freed twice")
        del self.memory[address]

    def pinned_memory(self, size: int) -> np.ndarray:
        self.check("pinned_memory")
        self._new(size)
        memory = np.full(size, GARBAGE, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory: np.ndarray) -> None:
        rule(memory.ctypes.data in self.pinned, "freed twice")
        del self.pinned[memory.ctypes.data]

    def stream(self) -> int:
        self.check("stream")
        stream = self._new(1)
        self.queues[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        del self.queues[stream]

    def enqueue(self, stream: int, work: Work) -> None:
        rule(stream in self.queues, "no such stream; the default stream is not to be used")
        self.recording.get(stream, self.queues[stream]).append(work)

    def bytes_at(self, address: int, size: int) -> np.ndarray:
        for start, memory in self.memory.items():
            if start <= address and address + size <= start + memory.nbytes:
                return memory[address - start : address - start + size]
        raise BrokenRule(f"{size} bytes at {address} are not memory of the device")

    def _host(self, host: np.ndarray) -> np.ndarray:
        start = host.ctypes.data
        held = any(
            a <= start and start + host.nbytes <= a + m.nbytes for a, m in self.pinned.items()
        )
        rule(held, "an asynchronous copy of memory that is not pinned")
        return host.reshape(-1).view(np.uint8)

    def upload(self, device: int, host: np.ndarray, stream: int) -> None:
        self.check("upload")
        source, target = self._host(host), self.bytes_at(device, host.nbytes)
        self.enqueue(stream, lambda: np.copyto(target, source))

    def download(self, host: np.ndarray, device: int, stream: int) -> None:
        self.check("download")
        target, source = self._host(host), self.bytes_at(device, host.nbytes)
        self.enqueue(stream, lambda: np.copyto(target, source))

    def synchronize(self, stream: int) -> None:
        self.check("synchronize")
        rule(stream not in self.recording, "synchronised during capture")
        queue = self.queues[stream]
        while queue:
            queue.pop(0)()

    def begin_capture(self, stream: int) -> None:
        self.check("begin_capture")
        rule(stream not in self.recording, "captured twice at once")
        self.recording[stream] = []

    def end_capture(self, stream: int) -> int:
        rule(stream in self.recording, "no capture to end")
        recorded = self.recording.pop(stream)
        self.check("end_capture")
        graph = self._new(1)
        self.graphs[graph] = recorded
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.check("launch")
        rule(graph in self.graphs, "no such graph")
        self.launches += 1
        for work in self.graphs[graph]:
            self.enqueue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def take_error(self) -> str | None:
        error, self.pending_error = self.pending_error, None
        return error


@dataclass
class FakeContext:
    """IExecutionContext of TensorRT 10 and 11, user-managed."""

    engine: FakeEngine
    profile: int | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    scratch: int | None = None
    flushed: bool = False
    """Whether a run came after the last change: TensorRT defers what a change entails."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        rule(not self.engine.cuda.recording, "a profile was switched during capture")
        if not 0 <= profile_index < len(self.engine.profiles):
            return False
        self.profile, self.shapes, self.flushed = profile_index, {}, False
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        rule(self.profile is not None, f"the shape of {name} was set before the profile")
        least, _, most = self.engine.profiles[self.profile][name]
        if len(shape) != len(least) or not all(
            a <= side <= b for a, side, b in zip(least, shape, most, strict=True)
        ):
            self.engine.log.log(self.engine.log.ERROR, f"{name}: {shape} is outside the profile")
            return False
        self.shapes[name], self.flushed = shape, False
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        shape = TENSORS[name][1]
        batch = self.shapes.get("images", (-1,))[0]
        return (batch, *shape[1:]) if shape[0] < 0 else shape

    def set_tensor_address(self, name: str, memory: int) -> bool:
        rule(name in TENSORS, f"no tensor {name}")
        self.addresses[name] = memory
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        rule(self.profile is not None, "scratch memory was given before the profile was set")
        rule(size >= self.engine.scratch_size, "the scratch memory is too small")
        self.engine.cuda.bytes_at(memory, size)
        self.scratch = memory

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda = self.engine.cuda
        cuda.check("execute_async_v3")
        rule(self.scratch is not None, "a run without scratch memory")
        unset = [name for name in ("images", "image_sizes") if name not in self.shapes]
        rule(not unset, f"a run without the shapes of {unset}")
        missing = [name for name in TENSORS if name not in self.addresses]
        rule(not missing, f"a run without the addresses of {missing}")
        if self.engine.fail_runs:
            self.engine.log.log(self.engine.log.ERROR, "the run failed")
            return False
        if stream_handle in cuda.recording:
            rule(self.flushed, "captured before a run had flushed deferred changes")
        now = (self.profile, dict(self.shapes), dict(self.addresses), self.scratch)
        in_capture = stream_handle in cuda.recording

        def work() -> None:
            then = (self.profile, self.shapes, self.addresses, self.scratch)
            rule(not in_capture or then == now, "launched after shapes or addresses had changed")
            _, shapes, addresses, _ = now
            views = {}
            for name, (kind, _) in TENSORS.items():
                shape = shapes.get(name, self.get_tensor_shape(name))
                rule(addresses[name] % 256 == 0, f"{name}: not aligned to 256 bytes")
                size = math.prod(shape) * np.dtype(kind).itemsize
                views[name] = cuda.bytes_at(addresses[name], size).view(kind).reshape(shape)
            for name, value in answer({name: views[name] for name in INPUTS}).items():
                views[name][...] = value

        cuda.enqueue(stream_handle, work)
        self.flushed = True
        return True


class FakeEngine:
    """ICudaEngine of a plan that `FakeBuilder` made."""

    scratch_size = 4096
    num_io_tensors = len(TENSORS)

    def __init__(self, cuda: FakeCuda, log: Any, plan: dict[str, Any]) -> None:
        self.cuda, self.log, self.plan = cuda, log, plan
        self.profiles = plan["profiles"]
        self.num_optimization_profiles = len(self.profiles)
        self.refittable = "REFIT" in plan["flags"]
        self.fail_runs = False
        self.contexts: list[FakeContext] = []

    def get_tensor_name(self, index: int) -> str:
        return list(TENSORS)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return TENSORS[name][0]

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return self.scratch_size - 512 * (len(self.profiles) - 1 - profile_index)

    def create_execution_context(self, strategy: Any) -> FakeContext:
        rule(not self.cuda.recording, "a context was made during capture")
        rule(strategy == "USER_MANAGED", "each context would bring scratch memory of its own")
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]

    def create_serialization_config(self) -> Any:
        flags: set[str] = set()
        return SimpleNamespace(flags=flags, set_flag=flags.add)

    def serialize_with_config(self, config: Any) -> bytes:
        flags = self.plan["flags"] if "INCLUDE_REFIT" in config.flags else []
        return json.dumps(self.plan | {"flags": flags}).encode()


class FakeTensorRT:
    """The package. `refused`: complaints of the parser; a plan is JSON of what went into it."""

    def __init__(self, cuda: FakeCuda, version: str = "11.4.0.106") -> None:
        self.cuda, self.__version__ = cuda, version
        self.refused: list[tuple[str, str, int, str]] = []
        self.shape_inputs: tuple[str, ...] = ()
        self.fail_build: str | None = None
        self.frozen_weights: tuple[str, ...] = ()
        self.engines: list[FakeEngine] = []
        self.builds = 0
        self.BuilderFlag = SimpleNamespace(
            REFIT="REFIT", VERSION_COMPATIBLE="VERSION_COMPATIBLE", TF32="TF32"
        )
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
        self.SerializationFlag = SimpleNamespace(INCLUDE_REFIT="INCLUDE_REFIT")

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

        self.ILogger = ILogger

    def nptype(self, trt_type: Any) -> Any:
        return trt_type

    def _errors(self) -> list[Any]:
        return [
            SimpleNamespace(
                node_operator=lambda o=operator: o,
                node_name=lambda n=name: n,
                node=lambda i=index: i,
                desc=lambda d=text: d,
            )
            for operator, name, index, text in self.refused
        ]

    def Builder(self, log: Any) -> Any:  # noqa: N802
        def create_network(flags: int) -> Any:
            rule(flags == 1 << 1, "the network is not strongly typed")
            network = SimpleNamespace(graph=b"", num_inputs=len(INPUTS))
            network.get_input = lambda index: SimpleNamespace(
                name=INPUTS[index], is_shape_tensor=INPUTS[index] in self.shape_inputs
            )
            return network

        def build(network: Any, config: FakeConfig) -> bytes | None:
            self.builds += 1
            if self.fail_build:
                log.log(log.ERROR, self.fail_build)
                return None
            rule(config.profiles, "dynamic shapes without a profile")
            return json.dumps(
                {
                    "profiles": config.profiles,
                    "flags": sorted(config.flags),
                    "graph": network.graph.hex(),
                }
            ).encode()

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=FakeConfig,
            create_optimization_profile=FakeProfile,
            build_serialized_network=build,
        )

    def OnnxParser(self, network: Any, log: Any) -> Any:  # noqa: N802
        errors = self._errors()

        def parse(model: bytes) -> bool:
            network.graph = model
            return not errors

        return SimpleNamespace(
            parse=parse, num_errors=len(errors), get_error=lambda index: errors[index]
        )

    def Runtime(self, log: Any) -> Any:  # noqa: N802
        runtime = SimpleNamespace(engine_host_code_allowed=False)

        def deserialize(content: bytes) -> FakeEngine | None:
            plan = json.loads(content)
            if "VERSION_COMPATIBLE" in plan["flags"] and not runtime.engine_host_code_allowed:
                log.log(log.ERROR, "host code is not allowed")
                return None
            self.engines.append(FakeEngine(self.cuda, log, plan))
            return self.engines[-1]

        runtime.deserialize_cuda_engine = deserialize
        return runtime

    def Refitter(self, engine: FakeEngine, log: Any) -> Any:  # noqa: N802
        import onnx

        graph = onnx.load_model_from_string(bytes.fromhex(engine.plan["graph"]))
        names = [w.name for w in graph.graph.initializer if w.name not in self.frozen_weights]
        refitter = SimpleNamespace(engine=engine, graph=None)
        refitter.get_all_weights = lambda: names
        refitter.get_missing_weights = list

        def refit() -> bool:
            engine.plan["graph"] = refitter.graph.hex()
            return True

        refitter.refit_cuda_engine = refit
        return refitter

    def OnnxParserRefitter(self, refitter: Any, log: Any) -> Any:  # noqa: N802
        def refit_from_bytes(model: bytes) -> bool:
            refitter.graph = model
            return not self.refused

        return SimpleNamespace(refit_from_bytes=refit_from_bytes)


class FakeProfile:
    """IOptimizationProfile."""

    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, *arguments: Any) -> None:
        name, *shapes = arguments
        for least, tuned, most in zip(*shapes, strict=True):
            rule(0 <= least <= tuned <= most, f"{name}: not least <= tuned <= most")
        self.shapes[name] = shapes


class FakeConfig:
    """IBuilderConfig."""

    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.set_flag, self.clear_flag = self.flags.add, self.flags.discard
        self.profiles: list[dict[str, Any]] = []
        self.timings: Any = None

    def add_optimization_profile(self, profile: FakeProfile) -> int:
        rule({"images", "image_sizes"} <= set(profile.shapes), "a dynamic input without a range")
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return SimpleNamespace(
            content=serialized_timing_cache,
            serialize=lambda: serialized_timing_cache + b"+",
        )

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        rule(not ignore_mismatch, "timings of another GPU would be believed")
        if cache.content.startswith(b"other"):
            return False
        self.timings = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.timings
