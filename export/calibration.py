"""The range of every value in a graph's trunk while pictures run through it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, TensorsData, create_calibrator
from tqdm import tqdm

from export.inputs import pictures_of, placed
from export.manifest import Manifest
from export.trunk import OPERATORS, Trunk

Feed = dict[str, NDArray[Any]]

_ORT_WARNING, _ORT_ERROR = 2, 3
"""ONNX Runtime's log severities."""


def calibration_feeds(folder: Path, manifest: Manifest, count: int) -> Iterator[Feed]:
    """Up to `count` pictures spread over a folder, over all scales in turn; shows how far it is.

    One that can't be read is named in a warning and left out; InputError if none can.
    """
    pictures = pictures_of(folder, count)
    shown = tqdm(pictures, "calibrating", total=count, unit="picture", leave=False, disable=None)
    for number, picture in enumerate(shown):
        scale = manifest.scales[number % len(manifest.scales)]
        yield placed(picture, scale, manifest.canvases_by_scale[scale]).feed


def ranges_of(trunk: Trunk, feeds: Iterable[Feed]) -> TensorsData:
    """The least and the greatest of each value over `feeds`, inputs like those to be served.

    The whole range seen: a moving average of it cost the cells model .004 AP.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = Path(folder, "trunk.onnx")
        onnx.save(alone(trunk), source)
        calibrator = create_calibrator(source, OPERATORS, str(Path(folder, "augmented.onnx")))
        calibrator.collect_data(_Feeds(feeds))
        return calibrator.compute_data()


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def alone(trunk: Trunk) -> onnx.ModelProto:
    """The graph up to the last convolutions: what follows is of no interest here and, in a graph
    for accelerators, takes seconds on a CPU.
    """
    graph = trunk.graph.graph
    optional = {entry.name for entry in graph.initializer}  # thresholds, for what follows
    required = [entry.name for entry in graph.input if entry.name not in optional]
    inferred = onnx.shape_inference.infer_shapes(trunk.graph)
    return onnx.utils.Extractor(inferred).extract_model(required, trunk.ends)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps from the user what the quantizer and its sessions say of a graph that is as meant."""
    logging.getLogger().addFilter(_no_preprocess_hint)
    # "Initializer score_threshold appears in graph inputs": that is what makes it optional.
    onnxruntime.set_default_logger_severity(_ORT_ERROR)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_ORT_WARNING)  # its default; it can't be asked
        logging.getLogger().removeFilter(_no_preprocess_hint)


def _no_preprocess_hint(record: logging.LogRecord) -> bool:
    # The exporter has folded and inferred already what the hint asks to pre-process.
    return "pre-process" not in record.getMessage()
