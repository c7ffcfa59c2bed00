"""The package `tensorrt`, typed, imported only when it is asked for."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from export.engines import tensorrt_classes as classes
from model.errors import InputError

logger = logging.getLogger(__name__)

OLDEST = (10, 16)
NEWEST_MAJOR = 11


class TensorRT(Protocol):
    """The module's own names; see `export.engines.tensorrt_classes` for what they are."""

    __version__: str
    ILogger: type
    Builder: Callable[[classes.ILogger], classes.Builder]
    OnnxParser: Callable[[classes.INetworkDefinition, classes.ILogger], classes.OnnxParser]
    Runtime: Callable[[classes.ILogger], classes.Runtime]
    Refitter: Callable[[classes.ICudaEngine, classes.ILogger], classes.Refitter]
    OnnxParserRefitter: Callable[[classes.Refitter, classes.ILogger], classes.OnnxParserRefitter]
    BuilderFlag: classes.BuilderFlag
    NetworkDefinitionCreationFlag: classes.NetworkDefinitionCreationFlag
    ExecutionContextAllocationStrategy: classes.ExecutionContextAllocationStrategy
    SerializationFlag: classes.SerializationFlag

    def nptype(self, trt_type: classes.Enumerator) -> type:
        """The numpy type of a TensorRT type; TypeError if numpy has none."""


def load_tensorrt() -> TensorRT:
    """The installed TensorRT; InputError if there is none, or one that this version can't use."""
    try:
        trt = cast(TensorRT, importlib.import_module("tensorrt"))
        version = trt.__version__
    except (ImportError, AttributeError, OSError) as error:
        # The package without its libraries fails in other ways than the absent one.
        logger.debug("tensorrt can't be imported", exc_info=error)
        raise InputError(
            "TensorRT is not installed here: pip install 'retinaserve[tensorrt]', with NVIDIA's "
            "package index as an extra index for its libraries, brings it; see docs/tensorrt.md"
        ) from None
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < OLDEST or major > NEWEST_MAJOR:
        raise InputError(
            f"TensorRT {version} is installed; accepted are {'.'.join(map(str, OLDEST))} "
            f"to {NEWEST_MAJOR}.x"
        )
    return trt


class Log(classes.ILogger, Protocol):
    """A logger of ours: `errors` holds what TensorRT complained of since it was last cleared."""

    errors: list[str]


def log_of(trt: TensorRT) -> Log:
    """A logger that hands TensorRT's messages on to `logging`, none of them above debug but errors.

    TensorRT's warnings are about its own choices: nothing that whoever serves can act on.
    """
    base: Any = trt.ILogger

    class _Log(base):  # type: ignore[misc]  # known only once the package is loaded
        def __init__(self) -> None:
            base.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (base.INTERNAL_ERROR, base.ERROR):
                self.errors.append(msg.strip())
            logger.debug("%s: %s", severity, msg)

    return cast(Log, _Log())


def last_error(log: Log) -> str:
    """What TensorRT said when it failed."""
    return log.errors[-1] if log.errors else "TensorRT gave no reason"
