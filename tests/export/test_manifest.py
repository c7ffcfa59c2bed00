"""The bundle on disk: what is trusted, what is refused, and in which words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from export.manifest import (
    METADATA_KEY,
    Bundle,
    BundleError,
    Manifest,
    Thresholds,
    read_bundle,
    write_manifest,
)
from model.errors import InputError
from model.files import sha256_of
from model.geometry import AnchorSpec
from model.letterbox import Canvas

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of the bytes `abc` (FIPS 180-2, example B.1)."""


def make_manifest(**changes: Any) -> Manifest:
    graphs = [
        {"file": "m-int8.onnx", "precision": "int8", "sha256": ABC, "opset": 18},
        {"file": "m-fp32.onnx", "precision": "fp32", "sha256": ABC, "opset": 18},
    ]
    return Manifest.model_validate(
        {
            "name": "cells",
            "version": "3",
            "classes": ["Platelets", "RBC", "Wei\u00dfe"],
            "anchors": AnchorSpec(),
            "canvases": {320: ["320x448", "448x320"], 64: ["64x96"]},
            "default_scale": 320,
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "graphs": graphs,
            "metrics": {"val": {"AP": 0.5}},
        }
        | changes
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose two graph files hold the bytes `abc`."""
    for file in ("m-int8.onnx", "m-fp32.onnx"):
        (tmp_path / file).write_bytes(b"abc")
    write_manifest(tmp_path, make_manifest())
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as error:
        read_bundle(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_was_written_is_read_back(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle == Bundle(folder, make_manifest())
    assert bundle.manifest.thresholds == Thresholds(
        score_threshold=0.05, iou_threshold=0.5, pre_nms_top_k=1000, max_detections=300
    )


def test_file_is_readable_by_people_and_by_other_users(folder: Path) -> None:
    path = folder / "manifest.json"
    assert '  "default_scale": 320,\n' in path.read_text(encoding="utf-8")
    assert "Wei\u00dfe" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_bundle_error_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_bundle(tmp_path)


def test_scales_and_canvases_are_parsed_and_ascend() -> None:
    manifest = make_manifest()
    assert manifest.scales == (64, 320)
    assert manifest.canvases_by_scale == {
        64: (Canvas(64, 96),),
        320: (Canvas(320, 448), Canvas(448, 320)),
    }


def test_graph_is_the_first_unless_a_precision_is_asked_for() -> None:
    manifest = make_manifest()
    assert manifest.graph_of().file == "m-int8.onnx"
    assert manifest.graph_of("fp32").file == "m-fp32.onnx"
    with pytest.raises(BundleError, match="has no fp16 cpu graph; it holds int8 cpu, fp32 cpu"):
        manifest.graph_of("fp16")


def test_graph_is_of_the_flavour_asked_for() -> None:
    graphs = [
        {"file": f"{name}.onnx", "precision": name[:4], "sha256": ABC, "opset": 18} | flavour
        for name, flavour in {
            "fp16-tensor": {"flavour": "tensor"},
            "fp32": {},
            "fp32-tensor": {"flavour": "tensor"},
        }.items()
    ]
    manifest = make_manifest(graphs=graphs)
    assert manifest.graph_of().file == "fp32.onnx"
    assert manifest.graph_of(flavour="tensor").file == "fp16-tensor.onnx"
    assert manifest.graph_of("fp32", "tensor").file == "fp32-tensor.onnx"


def test_missing_flavour_is_told_with_what_there_is() -> None:
    with pytest.raises(BundleError, match="has no tensor graph; it holds int8 cpu, fp32 cpu"):
        make_manifest().graph_of(flavour="tensor")


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_unknown_format_is_refused_with_what_to_do(folder: Path, found: object) -> None:
    edit(folder, format=found)
    said = refusal(folder)
    assert f"manifest format {found!r}; this version reads format 1" in said
    assert "export the checkpoint again" in said


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\x80abc"])
def test_manifest_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json: not JSON" in refusal(folder)


def test_manifest_that_is_no_object_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text("[1]")
    assert "manifest format None" in refusal(folder)


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    assert "no bundle here" in refusal(tmp_path)
    assert "no bundle here" in refusal(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    assert "no bundle here" in refusal(tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"name": "two words"}, "name: "),
        ({"classes": []}, "classes: "),
        ({"classes": ["RBC", "RBC"]}, "class names must be distinct"),
        ({"classes": ["RBC", ""]}, "class names must be distinct and not empty"),
        ({"canvases": {}}, "every scale needs at least one canvas"),
        ({"canvases": {"320": []}}, "every scale needs at least one canvas"),
        ({"canvases": {"320": ["320x450"]}}, "sides must be multiples of 32"),
        ({"canvases": {"320": ["wide"]}}, "write HEIGHTxWIDTH"),
        ({"default_scale": 96}, "default_scale 96 is not one of [64, 320]"),
        ({"strides": [4, 8, 16, 32, 64]}, "this version serves (8, 16, 32, 64, 128)"),
        ({"resize": {"rule": "stretch"}}, "resize.rule: "),
        ({"resize": {"long_side_cap": 2.0}}, "resize rule"),
        ({"thresholds": {"score_threshold": 1.5}}, "thresholds.score_threshold: "),
        ({"thresholds": {"pre_nms_top_k": 10}}, "max_detections 300: accepted are 1 to 50"),
        ({"anchors": {"sizes": [32]}}, "give one for each of the 5 levels"),
        ({"anchors": {"angle": 4}}, "anchors.angle: "),
        ({"graphs": []}, "graphs: "),
    ],
)
def test_value_out_of_range_is_named(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder, **changes)
    assert said in refusal(folder)


@pytest.mark.parametrize("file", ["../m.onnx", "/etc/passwd", "a/m.onnx", "", "."])
def test_graph_file_outside_the_bundle_is_refused(folder: Path, file: str) -> None:
    graph = {"file": file, "precision": "fp32", "sha256": ABC, "opset": 18}
    edit(folder, graphs=[graph])
    assert "graphs.0.file: a graph file lies directly in the bundle" in refusal(folder)


def test_graph_path_is_given_when_the_hash_agrees(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.graph_path(bundle.manifest.graphs[0]) == folder / "m-int8.onnx"
    assert sha256_of(folder / "m-int8.onnx") == ABC


def test_altered_graph_is_refused(folder: Path) -> None:
    (folder / "m-int8.onnx").write_bytes(b"abd")
    bundle = read_bundle(folder)
    with pytest.raises(BundleError, match=r"m-int8.onnx: sha256 is a52d159f262b\.\.\. but"):
        bundle.graph_path(bundle.manifest.graphs[0])


def test_missing_graph_is_refused(folder: Path) -> None:
    (folder / "m-fp32.onnx").unlink()
    bundle = read_bundle(folder)
    with pytest.raises(BundleError, match=r"m-fp32.onnx: the graph file .* is missing"):
        bundle.graph_path(bundle.manifest.graph_of("fp32"))


def test_facts_say_how_to_feed_a_graph_and_not_what_was_measured() -> None:
    facts = json.loads(make_manifest().facts("fp32"))
    assert sorted(facts) == [
        "anchors", "canvases", "classes", "default_scale", "flavour", "format", "mean", "name",
        "precision", "resize", "std", "strides", "thresholds", "version",
    ]  # fmt: skip
    assert (facts["precision"], facts["flavour"]) == ("fp32", "cpu")
    assert facts["canvases"] == {"64": ["64x96"], "320": ["320x448", "448x320"]}


def test_metadata_of_the_same_export_agrees() -> None:
    manifest = make_manifest()
    manifest.check_facts({METADATA_KEY: manifest.facts("int8")}, manifest.graph_of("int8"))


def test_metadata_of_another_export_names_what_differs() -> None:
    theirs = make_manifest(default_scale=64, mean=(0.0, 0.0, 0.0)).facts("fp32")
    manifest = make_manifest()
    with pytest.raises(BundleError, match="disagree on default_scale, mean: "):
        manifest.check_facts({METADATA_KEY: theirs}, manifest.graph_of("fp32"))


def test_metadata_of_another_precision_is_refused() -> None:
    manifest = make_manifest()
    with pytest.raises(BundleError, match="disagree on precision: "):
        manifest.check_facts({METADATA_KEY: manifest.facts("fp32")}, manifest.graph_of("int8"))


def test_metadata_of_another_flavour_is_refused() -> None:
    manifest = make_manifest()
    theirs = {METADATA_KEY: manifest.facts("int8", "tensor")}
    with pytest.raises(BundleError, match="disagree on flavour: "):
        manifest.check_facts(theirs, manifest.graph_of("int8"))


def test_metadata_from_before_there_were_flavours_is_of_a_cpu_graph() -> None:
    manifest = make_manifest()
    older = json.loads(manifest.facts("int8"))
    del older["flavour"]
    manifest.check_facts({METADATA_KEY: json.dumps(older)}, manifest.graph_of("int8"))


@pytest.mark.parametrize("metadata", [{}, {METADATA_KEY: "no json"}, {METADATA_KEY: "[]"}])
def test_graph_without_facts_is_refused(metadata: dict[str, str]) -> None:
    manifest = make_manifest()
    with pytest.raises(BundleError, match=r"m-fp32.onnx carries no 'retinaserve' metadata"):
        manifest.check_facts(metadata, manifest.graph_of("fp32"))


def test_failed_write_leaves_the_old_manifest_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(folder, make_manifest(version="4"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
