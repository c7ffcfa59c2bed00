"""A session of TensorRT: a bundle's plan on one GPU."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.contract import CANDIDATES, DETECTIONS, INPUTS, OUTPUTS
from export.engines.graph_values import settled_detections
from export.engines.session import (
    Detections,
    DeviceFault,
    OutOfMemory,
    Session,
    SessionError,
    SessionRule,
)
from export.engines.tensorrt_api import TensorRT, last_error, load_tensorrt, log_of
from export.engines.tensorrt_classes import ICudaEngine, IExecutionContext
from export.engines.tensorrt_cuda import OUT_OF_MEMORY, STICKY, Cuda, CudaError, open_cuda
from export.engines.tensorrt_memory import Buffer, Memory
from export.engines.tensorrt_plans import (
    Environment,
    Plan,
    facts_sha256,
    find_plan,
    plan_folder,
    profiles_of,
)
from export.manifest import Bundle, BundleError, Precision, read_bundle
from model.errors import InputError
from model.letterbox import Canvas

logger = logging.getLogger(__name__)

DOWNLOADED = (*DETECTIONS, "converged")
"""Outputs that the host reads after every run; candidates only where they are needed."""


def open_session(rule: SessionRule) -> Session:
    """The session of a bundle on a GPU; InputError says what is missing."""
    bundle = read_bundle(rule.path)
    graph = bundle.manifest.graph_of(rule.precision, "tensor")
    trt = load_tensorrt()
    cuda = open_cuda(rule.device)
    here = Environment.here(trt.__version__, cuda.gpu(rule.device.index))
    plan = find_plan(plan_folder(), graph, here)
    return TensorRTSession(bundle, plan, trt, cuda, rule.device.index)


@dataclass
class _Program:
    """All that running one canvas and batch size takes; addresses never change.

    `inputs` and `outputs`: views of pinned memory by tensor. `graph`: the recorded run, once there
    has been one.
    """

    context: IExecutionContext
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]
    graph: int | None = None
    recordable: bool = True


@dataclass
class _Owned:
    """What has to be given back, in this order."""

    programs: dict[tuple[Canvas, int], _Program] = field(default_factory=dict)
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def release(self, cuda: Cuda, device: int) -> None:
        # At exit CUDA may be gone already, and its memory with it.
        with contextlib.suppress(CudaError):
            cuda.set_device(device)
        for program in self.programs.values():
            if program.graph is not None:
                with contextlib.suppress(CudaError):
                    cuda.destroy_graph(program.graph)
        self.programs.clear()
        self.resources.close()


class TensorRTSession:
    """A plan in TensorRT, on one stream.

    All canvases and batch sizes share one set of buffers and one scratch memory, sized for the
    largest. Each (canvas, batch) has a context of its own, as TensorRT advises for CUDA graphs: it
    runs once as it is and is recorded then; from the second time on the recording is launched.
    Raises BundleError unless plan, graph and manifest are of one export.
    """

    def __init__(
        self, bundle: Bundle, plan: Plan, trt: TensorRT, cuda: Cuda, device: int = 0
    ) -> None:
        facts, manifest = plan.facts, bundle.manifest
        graph = manifest.graph_of(facts.precision, "tensor")
        if facts_sha256(manifest, graph) != facts.facts_sha256:
            raise BundleError(
                f"{plan.path}: the manifest of {graph.file} says other things than it did when "
                "this plan was built; export the bundle again, then build its plan again"
            )
        self.manifest = manifest
        self.engine = f"tensorrt-{trt.__version__}"
        self.precision: Precision = facts.precision
        self.parity = graph.parity
        self._most = facts.rule.max_batch
        self.max_batch: int | None = self._most
        self._profiles = profiles_of(facts)
        self._trt, self._cuda, self._device = trt, cuda, device
        self._log = log_of(trt)
        self._owned = _Owned()
        # Not __del__: this also runs when the interpreter ends, in an order that can be relied on.
        weakref.finalize(self, self._owned.release, cuda, device)
        with self._failures():
            cuda.set_device(device)
            self._runtime = trt.Runtime(self._log)
            # The plan brings a small runtime of its own, which is code; its hash was checked.
            self._runtime.engine_host_code_allowed = facts.rule.version_compatible
            self._engine = self._loaded(plan)
            self._open_memory(plan)

    def _loaded(self, plan: Plan) -> ICudaEngine:
        engine = self._runtime.deserialize_cuda_engine(plan.read())
        if engine is None:
            raise BundleError(
                f"{plan.path}: TensorRT {self._trt.__version__} can't load this plan "
                f"({last_error(self._log)}); build it again: `retinaserve build BUNDLE`"
            )
        wanted = {*INPUTS, *OUTPUTS["tensor"]}
        found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        if found != wanted or engine.num_optimization_profiles != len(self._profiles):
            raise BundleError(
                f"{plan.path}: the plan's tensors are not those of this version's graphs "
                f"({', '.join(sorted(found ^ wanted))}); export and build the bundle again"
            )
        return engine

    def _open_memory(self, plan: Plan) -> None:
        """Buffers for the largest canvas and batch, and the scratch memory of all contexts."""
        self._memory = memory = Memory(self._cuda, self._owned.resources)
        self._stream = memory.stream()
        self._scratch_size = max(
            self._engine.get_device_memory_size_for_profile_v2(index)
            for index in self._profiles.values()
        )
        self._scratch = memory.device(max(1, self._scratch_size))
        largest = max(self._profiles, key=lambda canvas: canvas.height * canvas.width)
        context = self._context(largest, self._most)
        self._buffers: dict[str, Buffer] = {}
        for name in (*INPUTS, *OUTPUTS["tensor"]):
            shape = tuple(context.get_tensor_shape(name))
            if min(shape) < 0:
                raise BundleError(f"{plan.path}: the size of {name} depends on the image's content")
            dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
            self._buffers[name] = memory.buffer(shape, dtype)

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`; InputError for a canvas or batch size that the plan lacks."""
        canvas, batch = Canvas(*images.shape[1:3]), len(images)
        if canvas not in self._profiles:
            held = ", ".join(map(str, self._profiles))
            raise InputError(f"canvas {canvas}: the TensorRT plan has {held}")
        if not 1 <= batch <= self._most:
            raise InputError(
                f"batch of {batch}: the TensorRT plan takes 1 to {self._most}; "
                "`retinaserve build BUNDLE --max-batch N` builds another"
            )
        with self._failures():
            self._cuda.set_device(self._device)  # which CUDA keeps for each thread
            program = self._program(canvas, batch)
            values = (
                images, image_sizes, score_threshold, iou_threshold,
                self.manifest.thresholds.max_detections,
            )  # fmt: skip
            for name, value in zip(INPUTS, values, strict=True):
                program.inputs[name][...] = value
            if program.graph is None:
                self._enqueue(program)
            else:
                self._cuda.launch(program.graph, self._stream)
            self._cuda.synchronize(self._stream)
            found = settled_detections(
                [program.outputs[name] for name in DOWNLOADED],
                lambda: self._candidates(program),
                iou_threshold,
                self.manifest.thresholds.max_detections,
            )
            if program.graph is None and program.recordable:
                self._record(program, canvas)
            return found

    def _program(self, canvas: Canvas, batch: int) -> _Program:
        program = self._owned.programs.get((canvas, batch))
        if program is None:
            context = self._context(canvas, batch)
            shapes = {name: tuple(context.get_tensor_shape(name)) for name in self._buffers}
            for name, buffer in self._buffers.items():
                self._must(context.set_tensor_address(name, buffer.device), name)
            program = _Program(
                context,
                {name: self._buffers[name].host_view(shapes[name]) for name in INPUTS},
                {name: self._buffers[name].host_view(shapes[name]) for name in OUTPUTS["tensor"]},
            )
            self._owned.programs[canvas, batch] = program
        return program

    def _context(self, canvas: Canvas, batch: int) -> IExecutionContext:
        """A context for these shapes, with the shared scratch memory."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self._failure("create_execution_context")
        profile = self._profiles[canvas]
        self._must(context.set_optimization_profile_async(profile, self._stream), "profile")
        self._must(context.set_input_shape("images", (batch, *canvas, 3)), "images")
        self._must(context.set_input_shape("image_sizes", (batch, 2)), "image_sizes")
        context.set_device_memory(self._scratch, self._scratch_size)
        return context

    def _enqueue(self, program: _Program) -> None:
        """Queues one run: copies in, inference, copies out."""
        for name, host in program.inputs.items():
            self._cuda.upload(self._buffers[name].device, host, self._stream)
        self._must(program.context.execute_async_v3(self._stream), "execute_async_v3")
        for name in DOWNLOADED:
            self._cuda.download(program.outputs[name], self._buffers[name].device, self._stream)

    def _record(self, program: _Program, canvas: Canvas) -> None:
        """Records a run for `launch`. Without a recording the session is slower, not wrong."""
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue(program)
            except BaseException:
                with contextlib.suppress(CudaError):
                    self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
                raise
            program.graph = self._cuda.end_capture(self._stream)
        except (CudaError, SessionError) as error:
            if isinstance(error, CudaError) and error.name in STICKY:
                raise
            program.recordable = False
            logger.warning(
                "canvas %s runs without a CUDA graph: %r", canvas, error.__cause__ or error
            )

    def _candidates(self, program: _Program) -> list[NDArray[Any]]:
        """The candidates of a finished run, which stay on the device until they are asked for."""
        hosts = [program.outputs[name] for name in CANDIDATES]
        for name, host in zip(CANDIDATES, hosts, strict=True):
            self._cuda.download(host, self._buffers[name].device, self._stream)
        self._cuda.synchronize(self._stream)
        return hosts

    def _must(self, done: bool, what: str) -> None:
        """Raises for a call of TensorRT that said no: as CUDA's error if there was one."""
        if not done:
            raise self._failure(what)

    def _failure(self, what: str) -> Exception:
        if name := self._cuda.take_error():
            return CudaError(f"TensorRT, {what}", name)
        error = SessionError("TensorRT failed on a batch")
        error.__cause__ = RuntimeError(f"{what}: {last_error(self._log)}")
        return error

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """CUDA's errors as the session's."""
        try:
            self._log.errors.clear()
            yield
        except CudaError as error:
            if error.name in STICKY:
                raise DeviceFault("the GPU is lost to this process") from error
            if error.name == OUT_OF_MEMORY:
                raise OutOfMemory("the GPU has no memory left for this batch") from error
            raise SessionError("CUDA failed on a batch") from error
