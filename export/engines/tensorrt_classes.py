"""TensorRT's classes, as far as this project uses them.

Each stands for TensorRT's class of the same name and lists the members that we call: mypy holds our
code to them, and `tests/export/engines/test_tensorrt_contract.py` holds them, argument by argument,
against the packages of TensorRT 10.16 and 11.4. A name that only one of the two has fails there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Enumerator = Any
"""A member of one of TensorRT's enumerations."""


class ILogger(Protocol):
    """Takes TensorRT's messages; it must live as long as what was made with it."""


class IHostMemory(Protocol):
    """Bytes that TensorRT owns."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class ITensor(Protocol):
    """An input or a value of a network."""

    name: str
    is_shape_tensor: bool


class INetworkDefinition(Protocol):
    """What a parser fills."""

    num_inputs: int

    def get_input(self, index: int) -> ITensor: ...


class IOptimizationProfile(Protocol):
    """The range of shapes that a plan takes, and the shapes that it is tuned for."""

    def set_shape(
        self,
        input: str,  # noqa: A002  # the names are TensorRT's
        min: tuple[int, ...],  # noqa: A002
        opt: tuple[int, ...],
        max: tuple[int, ...],  # noqa: A002
    ) -> None: ...


class ITimingCache(Protocol):
    """How fast each kernel was on this GPU."""

    def serialize(self) -> IHostMemory: ...


class IBuilderConfig(Protocol):
    """How to build."""

    def set_flag(self, flag: Enumerator) -> None: ...
    def clear_flag(self, flag: Enumerator) -> None: ...
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> ITimingCache | None: ...


class Builder(Protocol):
    """Makes plans for the GPU that is current when it is made."""

    def create_network(self, flags: int) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None: ...


class ParserError(Protocol):
    """One complaint of a parser."""

    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...
    def desc(self) -> str: ...


class OnnxParser(Protocol):
    """Reads an ONNX file into a network."""

    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class ISerializationConfig(Protocol):
    """What a serialised engine keeps."""

    def set_flag(self, flag: Enumerator) -> bool: ...


class IExecutionContext(Protocol):
    """What runs an engine at one set of shapes and addresses."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def set_device_memory(self, memory: int, size: int) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):
    """A plan, loaded."""

    num_io_tensors: int
    num_optimization_profiles: int
    refittable: bool

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_dtype(self, name: str) -> Enumerator: ...
    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int: ...
    def create_execution_context(self, strategy: Enumerator) -> IExecutionContext | None: ...
    def create_serialization_config(self) -> ISerializationConfig: ...
    def serialize_with_config(self, config: ISerializationConfig, /) -> IHostMemory | None: ...


class Runtime(Protocol):
    """Loads plans onto the GPU that is current when it is made."""

    engine_host_code_allowed: bool

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class Refitter(Protocol):
    """Puts new weights into an engine."""

    def get_all_weights(self) -> list[str]: ...
    def get_missing_weights(self) -> list[str]: ...
    def refit_cuda_engine(self) -> bool: ...


class OnnxParserRefitter(Protocol):
    """Gives a refitter the weights of an ONNX file."""

    num_errors: int

    def refit_from_bytes(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class BuilderFlag(Protocol):
    """An enumeration."""

    REFIT: Enumerator
    VERSION_COMPATIBLE: Enumerator
    TF32: Enumerator


class NetworkDefinitionCreationFlag(Protocol):
    """An enumeration."""

    STRONGLY_TYPED: Enumerator


class ExecutionContextAllocationStrategy(Protocol):
    """An enumeration."""

    USER_MANAGED: Enumerator


class SerializationFlag(Protocol):
    """An enumeration."""

    INCLUDE_REFIT: Enumerator
