"""From a graph to a TensorRT plan, and new weights for a plan that exists.

Everything here takes the package as an argument: TensorRT 10.16 to 11, or TensorRT-RTX, whose
builder and parser are the same and run without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from export.engines.tensorrt_api import Log, TensorRT, last_error
from export.engines.tensorrt_classes import (
    Builder,
    IBuilderConfig,
    INetworkDefinition,
    OnnxParser,
    OnnxParserRefitter,
)
from export.engines.tensorrt_plans import BuildRule
from export.manifest import BundleError
from model.letterbox import Canvas

MOST_ERRORS = 3
"""Nodes that a sentence lists."""

REASON_LINES = 2
"""Of what a parser says of a node: its name and the reason; then come places in NVIDIA's source."""


def build_plan(
    trt: TensorRT,
    log: Log,
    graph: bytes,
    canvases: Sequence[Canvas],
    rule: BuildRule,
    timings: bytes = b"",
) -> tuple[bytes, bytes]:
    """The plan of a prepared graph for the current GPU, and the timings for the next build.

    One optimization profile for each canvas, in order. `timings`: those of an earlier build.
    Raises BundleError if TensorRT refuses the graph or can't build it.
    """
    builder = trt.Builder(log)
    network = parsed(trt, builder, log, graph)
    config = configured(trt, builder, canvases, rule)
    use_timings(config, timings)
    plan = compiled(trt, builder, log, network, config)
    cache = config.get_timing_cache()
    return plan, bytes(cache.serialize()) if cache is not None else b""


def parsed(trt: TensorRT, builder: Builder, log: Log, graph: bytes) -> INetworkDefinition:
    """The network of a prepared graph; BundleError names the nodes that TensorRT can't take."""
    # TensorRT 10 needs to be told that the types are those of the file; 11 has nothing else.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    log.errors.clear()
    if not parser.parse(graph):
        raise BundleError(
            f"TensorRT {trt.__version__} can't take this graph: {_complaints(parser, log)}"
        )
    for index in range(network.num_inputs):
        if (tensor := network.get_input(index)).is_shape_tensor:
            raise BundleError(
                f"TensorRT {trt.__version__} can't take this graph: the value of its input "
                f"{tensor.name} decides a shape; export the bundle again"
            )
    return network


def configured(
    trt: TensorRT, builder: Builder, canvases: Sequence[Canvas], rule: BuildRule
) -> IBuilderConfig:
    """How to build: the profiles of the canvases, and the flags of a rule."""
    config = builder.create_builder_config()
    # fp32 means float32: parity was measured with it. Half precision is what is fast.
    config.clear_flag(trt.BuilderFlag.TF32)
    if rule.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if rule.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    batches = (1, tuned_batch(rule.max_batch), rule.max_batch)
    for canvas in canvases:
        profile = builder.create_optimization_profile()
        profile.set_shape("images", *((batch, *canvas, 3) for batch in batches))
        profile.set_shape("image_sizes", *((batch, 2) for batch in batches))
        if config.add_optimization_profile(profile) < 0:
            raise BundleError(f"TensorRT {trt.__version__} refuses the canvas {canvas}")
    return config


def tuned_batch(max_batch: int) -> int:
    """The batch size that kernels are chosen for: half the largest, since a service that batches
    what waits while the engine is busy meets all sizes.
    """
    return (max_batch + 1) // 2


def use_timings(config: IBuilderConfig, timings: bytes) -> None:
    """Starts from earlier timings, or from none if they are of another GPU or version."""
    if not config.set_timing_cache(config.create_timing_cache(timings), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def compiled(
    trt: TensorRT, builder: Builder, log: Log, network: INetworkDefinition, config: IBuilderConfig
) -> bytes:
    """The plan; BundleError with TensorRT's reason if it can't be built."""
    log.errors.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(
            f"TensorRT {trt.__version__} can't build a plan of this graph: {last_error(log)}"
        )
    return bytes(plan)


def refit_plan(
    trt: TensorRT, log: Log, plan: bytes, graph: bytes, changed: Sequence[str]
) -> bytes | None:
    """A refittable plan with the weights of a prepared graph of the same skeleton.

    `changed`: the initializers that differ. None if the plan can't take one of them, because
    TensorRT made something else of it: then it must be built anew.
    """
    log.errors.clear()
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None or not engine.refittable:
        return None
    refitter = trt.Refitter(engine, log)
    if not set(changed) <= set(refitter.get_all_weights()):
        return None
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_bytes(graph) or refitter.get_missing_weights():
        return None
    if not refitter.refit_cuda_engine():
        return None
    config = engine.create_serialization_config()
    config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)  # for the next training too
    content = engine.serialize_with_config(config)
    return None if content is None else bytes(content)


def _complaints(parser: OnnxParser | OnnxParserRefitter, log: Log) -> str:
    """What a parser has against the graph, node by node."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [
        f"{error.node_operator()} {error.node_name()!r} (node {error.node()}): "
        + ", ".join(line.strip() for line in error.desc().splitlines()[:REASON_LINES])
        for error in errors[:MOST_ERRORS]
    ]
    if len(errors) > MOST_ERRORS:
        told.append(f"and {len(errors) - MOST_ERRORS} more")
    return "; ".join(told) or last_error(log)
