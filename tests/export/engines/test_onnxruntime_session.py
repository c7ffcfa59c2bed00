"""ONNX Runtime behind the session protocol, with a bundle that `export` made."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.engines.onnxruntime_session import OnnxRuntimeSession
from export.engines.session import Session, SessionError
from export.manifest import Bundle, BundleError, read_bundle, write_manifest
from model.files import sha256_of


@pytest.fixture(scope="module")
def session(tiny_bundle: Bundle) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(tiny_bundle, None, threads=1)


def batch(session: Session, count: int) -> tuple[np.ndarray, np.ndarray]:
    manifest = session.manifest
    canvas = manifest.canvases_by_scale[manifest.default_scale][0]
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (count, *canvas, 3), np.uint8)
    return images, np.array([canvas] * count, np.int64)


def test_run_gives_sorted_detections_for_each_image(session):
    found = session.run(*batch(session, 2), score_threshold=0.0, iou_threshold=0.5)
    assert len(found) == 2
    for one in found:
        assert len(one) > 0
        assert one.boxes.shape == (len(one), 4)
        assert (one.boxes.dtype, one.scores.dtype, one.classes.dtype) == ("f4", "f4", "i8")
        assert (np.diff(one.scores) <= 0).all()
        assert set(one.classes.tolist()) <= set(range(len(session.manifest.classes)))


def test_run_heeds_the_thresholds(session):
    images, sizes = batch(session, 1)
    (many,) = session.run(images, sizes, score_threshold=0.0, iou_threshold=1.0)
    threshold = float(np.median(many.scores))
    (some,) = session.run(images, sizes, score_threshold=threshold, iou_threshold=1.0)
    assert 0 < len(some) < len(many)
    assert (some.scores > np.float32(threshold)).all()
    (few,) = session.run(images, sizes, score_threshold=0.0, iou_threshold=0.01)
    assert len(few) < len(many)


def test_an_image_finds_the_same_alone_and_in_company(session):
    images, sizes = batch(session, 3)
    together = session.run(images, sizes, score_threshold=0.0, iou_threshold=0.5)
    for i in range(3):
        (alone,) = session.run(images[i : i + 1], sizes[:1], score_threshold=0.0, iou_threshold=0.5)
        np.testing.assert_allclose(alone.boxes, together[i].boxes, atol=1e-3)
        np.testing.assert_allclose(alone.scores, together[i].scores, atol=1e-5)


def test_a_run_that_fails_is_a_session_error(session):
    with pytest.raises(SessionError, match="failed on a batch"):
        session.run(np.zeros((1, 32, 32), np.uint8), np.zeros((1, 2), np.int64), 0.05, 0.5)


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle that a test may spoil."""
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_bundle.folder, folder)
    return read_bundle(folder)


def rehashed(bundle: Bundle) -> Bundle:
    """The bundle with its manifest telling the hashes of the files as they are now."""
    graphs = [
        graph.model_copy(update={"sha256": sha256_of(bundle.folder / graph.file)})
        for graph in bundle.manifest.graphs
    ]
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    return read_bundle(bundle.folder)


def test_an_altered_graph_is_refused(copy):
    with (copy.folder / copy.manifest.graphs[0].file).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="sha256"):
        OnnxRuntimeSession(copy, None, threads=1)


def test_a_manifest_of_another_export_is_refused(copy):
    classes = [name.upper() + "?" for name in copy.manifest.classes]
    manifest = copy.manifest.model_copy(update={"classes": classes})
    with pytest.raises(BundleError, match="disagree on classes"):
        OnnxRuntimeSession(dataclasses.replace(copy, manifest=manifest), None, threads=1)


def test_a_graph_that_is_none_is_refused_in_a_sentence_of_ours(copy):
    (copy.folder / copy.manifest.graphs[0].file).write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"cannot load this graph") as error:
        OnnxRuntimeSession(rehashed(copy), None, threads=1)
    assert "protobuf" not in str(error.value).lower()


def test_a_precision_that_the_bundle_lacks_is_refused(copy):
    graphs = [graph for graph in copy.manifest.graphs if graph.precision == "fp32"]
    manifest = copy.manifest.model_copy(update={"graphs": graphs})
    with pytest.raises(BundleError, match="it holds fp32"):
        OnnxRuntimeSession(dataclasses.replace(copy, manifest=manifest), "int8", threads=1)
