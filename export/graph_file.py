"""A graph becomes a file of a bundle: its name, its metadata, its entry in the manifest."""

from __future__ import annotations

from pathlib import Path

import onnx

from export.engines.golden import golden_of
from export.manifest import METADATA_KEY, Flavour, Graph, Manifest, Precision
from export.plain_session import PlainSession
from model.files import sha256_of


def file_name(manifest: Manifest, precision: Precision, flavour: Flavour) -> str:
    """What a bundle calls its graph of a precision and flavour."""
    return f"{manifest.name}-{precision}{'' if flavour == 'cpu' else f'-{flavour}'}.onnx"


def stamped(
    graph: onnx.ModelProto, manifest: Manifest, precision: Precision, flavour: Flavour
) -> bytes:
    """The file's content: the graph with the manifest's facts in its metadata."""
    onnx.helper.set_model_props(graph, {METADATA_KEY: manifest.facts(precision, flavour)})
    graph.producer_name = "retinaserve"
    content: bytes = graph.SerializeToString()
    return content


def write_graph(
    folder: Path, content: bytes, manifest: Manifest, precision: Precision, flavour: Flavour
) -> Graph:
    """Writes the file; its entry has a golden record, and no parity yet."""
    path = folder / file_name(manifest, precision, flavour)
    path.write_bytes(content)
    opsets = onnx.load_model_from_string(content).opset_import
    return Graph(
        file=path.name,
        precision=precision,
        flavour=flavour,
        sha256=sha256_of(path),
        opset=next(entry.version for entry in opsets if not entry.domain),
        golden=golden_of(PlainSession(content), manifest),
    )
