"""Bundles: one made by hand, and others made of it: of another version, or spoilt."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.engines.golden import golden_of
from export.engines.registry import open_session
from export.manifest import (
    METADATA_KEY,
    Bundle,
    Golden,
    Graph,
    Manifest,
    Thresholds,
    read_bundle,
    write_manifest,
)
from model.files import sha256_of
from model.geometry import AnchorSpec

SCORES = np.array([0.9, 0.5, 0.01], np.float32)
CLASSES = np.array([1, 0, 2], np.int64)


def write_known_bundle(folder: Path) -> Path:
    """Finds in every image an RBC of .9, Platelets of .5 and a WBC of .01, each the whole image."""
    manifest = Manifest(
        name="known",
        version="3",
        classes=["Platelets", "RBC", "WBC"],
        anchors=AnchorSpec(),
        canvases={96: ["96x128", "128x96"], 192: ["192x256"]},
        default_scale=96,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        thresholds=Thresholds(max_detections=len(SCORES)),
        graphs=[
            Graph(file=f"{precision}.onnx", precision=precision, sha256="0" * 64, opset=18)
            for precision in ("int8", "fp32")
        ],
    )
    folder.mkdir(exist_ok=True)
    for graph in manifest.graphs:
        onnx.save(_known_graph(), folder / graph.file)
    return _written(folder, manifest)


def with_record(folder: Path) -> Bundle:
    """The bundle of a folder, which gets the golden record that it had no export for."""
    session = open_session(folder, threads=1)
    record = golden_of(session, session.manifest)
    graphs = [graph.model_copy(update={"golden": record}) for graph in session.manifest.graphs]
    write_manifest(folder, session.manifest.model_copy(update={"graphs": graphs}))
    return read_bundle(folder)


def as_version(bundle: Bundle, folder: Path, version: str) -> Path:
    """The same bundle, as if it had been exported under another version."""
    folder.mkdir()
    for graph in bundle.manifest.graphs:
        shutil.copy(bundle.folder / graph.file, folder)
    return _written(folder, bundle.manifest.model_copy(update={"version": version}))


def _written(folder: Path, manifest: Manifest) -> Path:
    """Writes the manifest, and its facts into the graphs that lie in the folder."""
    graphs = []
    for graph in manifest.graphs:
        path = folder / graph.file
        proto = onnx.load(path)
        helper.set_model_props(proto, {METADATA_KEY: manifest.facts(graph.precision)})
        onnx.save(proto, path)
        graphs.append(graph.model_copy(update={"sha256": sha256_of(path)}))
    write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))
    return folder


def tampered(bundle: Bundle, folder: Path) -> Path:
    """A copy with one byte too many in its first graph."""
    shutil.copytree(bundle.folder, folder)
    with (folder / bundle.manifest.graphs[0].file).open("ab") as graph:
        graph.write(b"\0")
    return folder


def with_golden(bundle: Bundle, folder: Path, **changes: object) -> Path:
    """A copy whose golden record says otherwise; without changes it has none."""

    def changed(graph: Graph) -> Graph:
        record: list[Golden] = []
        if changes:
            record = [golden.model_copy(update=changes) for golden in graph.golden]
        return graph.model_copy(update={"golden": record})

    shutil.copytree(bundle.folder, folder)
    graphs = [changed(graph) for graph in bundle.manifest.graphs]
    write_manifest(folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    return folder


def _known_graph() -> onnx.ModelProto:
    """A graph of the bundle contract: a pooled map stands for the network, the rest is constant."""
    rows = len(SCORES)
    constants = {
        "known_scores": SCORES[None],
        "known_classes": CLASSES[None],
        "score_threshold": np.array([0.05], np.float32),
        "iou_threshold": np.array([0.5], np.float32),
        "zero": np.array(0.0, np.float32),
        "batch": np.array([0], np.int64),
        "x": np.array([1], np.int64),
        "rows": np.array([1, rows, 1], np.int64),
        "one_row": np.array([rows], np.int64),
        "row_axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "zero"], ["none"]),
        helper.make_node("Mul", ["iou_threshold", "zero"], ["nothing"]),
        helper.make_node("Shape", ["images"], ["batch_size"], start=0, end=1),
        helper.make_node("Concat", ["batch_size", "one_row"], ["table"], axis=0),
        helper.make_node("Add", ["known_scores", "none"], ["scores_a"]),
        helper.make_node("Add", ["scores_a", "nothing"], ["scores_b"]),
        helper.make_node("Expand", ["scores_b", "table"], ["scores"]),
        helper.make_node("Expand", ["known_classes", "table"], ["classes"]),
        helper.make_node("Greater", ["scores", "score_threshold"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["kept_int"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["kept_int", "row_axis"], ["num_detections"], keepdims=0),
        helper.make_node("Cast", ["image_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["sizes", "batch"], ["height"], axis=1),
        helper.make_node("Gather", ["sizes", "x"], ["width"], axis=1),
        helper.make_node("Mul", ["sizes", "zero"], ["corner"]),
        helper.make_node("Concat", ["corner", "width", "height"], ["box"], axis=1),
        helper.make_node("Unsqueeze", ["box", "row_axis"], ["one_box"]),
        helper.make_node("Expand", ["one_box", "rows"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "known",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3]),
            helper.make_tensor_value_info("image_sizes", TensorProto.INT64, ["B", 2]),
            # Inputs with an initializer: what the caller may leave out.
            helper.make_tensor_value_info("score_threshold", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("iou_threshold", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("num_detections", TensorProto.INT64, ["B"]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["B", rows, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", rows]),
            helper.make_tensor_value_info("classes", TensorProto.INT64, ["B", rows]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
