"""Exporting is all or nothing, and says no before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

import export.bundle
from export.bundle import ExportRule, export_bundle, flavours_of, precisions_of
from export.draft import source_facts
from export.manifest import Bundle, Flavour, Manifest, Thresholds, read_bundle
from export.verify import VerificationError
from model.checkpoint import Checkpoint, load_checkpoint
from model.data.coco import read_coco
from model.data.records import DataSet
from model.errors import InputError
from model.letterbox import Canvas


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def old(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """An older bundle at the place to export to; it is alone in its folder."""
    folder = tmp_path / "bundles" / "cells"
    shutil.copytree(tiny_bundle.folder, folder)
    return folder


@pytest.fixture
def trusting(ready_graphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any graph passes."""
    monkeypatch.setattr(export.bundle, "verify", lambda *args: {"detections": 0})


@pytest.fixture
def data(small_scenes: Path) -> DataSet:
    return read_coco(small_scenes / "annotations.json", small_scenes / "images")


def export_to(out: Path, checkpoint: Checkpoint, **rule: Any) -> Manifest:
    given = {"name": "new", "version": "2", "canvases": (Canvas(64, 96),)} | rule
    return export_bundle(checkpoint, {"step": 7}, out, ExportRule(**given), lambda _: None)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(out: Path, checkpoint: Checkpoint, **rule: Any) -> str:
    with pytest.raises(InputError) as error:
        export_to(out, checkpoint, **rule)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bundle_holds_what_the_checkpoint_says(tiny_bundle: Bundle, checkpoint: Checkpoint) -> None:
    manifest = tiny_bundle.manifest
    assert manifest.classes == ["Platelets", "RBC", "WBC"]
    assert manifest.anchors == checkpoint.architecture.anchors
    assert (manifest.mean, manifest.std) == (checkpoint.mean, checkpoint.std)
    assert manifest.canvases == {64: ["64x96", "96x64"], 96: ["96x128", "128x96"]}
    assert manifest.default_scale == 96
    assert [graph.precision for graph in manifest.graphs] == ["fp32", "int8"]
    assert manifest.source["step"] == 7
    assert manifest.source["checkpoint"] == "tiny.pt"


def test_bundle_was_verified_on_every_canvas_and_in_batches(tiny_bundle: Bundle) -> None:
    parity = tiny_bundle.manifest.graph_of("fp32").parity
    assert parity["canvases"] == ["128x96", "64x96", "96x128", "96x64"]
    assert parity["images"] > parity["batches"]
    assert parity["worst_box_px"] < 0.05


def test_bundle_passes_its_own_checks(tiny_bundle: Bundle) -> None:
    for graph in tiny_bundle.manifest.graphs:
        proto = onnx.load(tiny_bundle.graph_path(graph))
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        tiny_bundle.manifest.check_facts(metadata, graph)


def test_folder_holds_the_bundle_alone(tiny_bundle: Bundle) -> None:
    names = {path.name for path in tiny_bundle.folder.iterdir()}
    assert names == {"manifest.json", "tiny-fp32.onnx", "tiny-int8.onnx"}
    assert [path.name for path in tiny_bundle.folder.parent.iterdir()] == ["tiny"]
    assert tiny_bundle.folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("trusting")
def test_new_bundle_replaces_the_old(old: Path, checkpoint: Checkpoint) -> None:
    manifest = export_to(old, checkpoint)
    assert read_bundle(old).manifest == manifest
    assert {path.name for path in old.iterdir()} == {"manifest.json", "new-fp32.onnx"}
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


@pytest.mark.usefixtures("ready_graphs")
@pytest.mark.parametrize("failing", ["verify", "write_manifest"])
def test_failure_leaves_the_old_bundle_and_nothing_else(
    old: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*args: object) -> None:
        raise VerificationError("worst_box_px is 3")

    before = snapshot(old.parent)
    monkeypatch.setattr(export.bundle, "verify", lambda *args: {})
    monkeypatch.setattr(export.bundle, failing, fail)
    with pytest.raises(VerificationError):
        export_to(old, checkpoint)
    assert snapshot(old.parent) == before
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


def test_foreign_folder_is_refused_before_anything_is_exported(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is not empty and holds no bundle" in refusal(tmp_path, checkpoint)


@pytest.mark.usefixtures("trusting")
def test_graph_with_a_fault_is_not_written(tmp_path: Path, checkpoint: Checkpoint) -> None:
    said = (
        r"new-fp32-tensor.onnx: the outputs are num_detections, boxes, scores, classes; they must"
    )
    with pytest.raises(VerificationError, match=said):
        export_to(tmp_path / "out", checkpoint, flavours=("tensor",))  # given a graph for CPUs
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"precisions": ("int8",)}, "int8 needs --calibration DIR"),
        ({"name": "two words"}, "name: "),
        ({"version": ""}, "version: "),
        ({"default_scale": 96}, "default_scale 96 is not one of [64]"),
        ({"default_scale": 0}, "default_scale 0 is not one of [64]"),
        ({"scales": (480,)}, "canvas 64x96 is smaller than every scale"),
        ({"calibration": Path("absent")}, "absent: not a folder of pictures"),
        (
            {"thresholds": Thresholds(pre_nms_top_k=4000), "flavours": ("tensor",)},
            "pre_nms_top_k 4000: accepted with flavour tensor are 1 to 3840",
        ),
    ],
)
def test_bad_rule_is_refused_and_nothing_written(
    tmp_path: Path, checkpoint: Checkpoint, rule: dict[str, Any], said: str
) -> None:
    assert said in refusal(tmp_path / "out", checkpoint, **rule)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("precisions", [("fp32", "int8"), ("int8",)])
def test_precision_that_loses_too_much_ap_is_refused(
    tmp_path: Path,
    checkpoint: Checkpoint,
    data: DataSet,
    small_scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
    precisions: tuple[str, ...],
) -> None:
    measured = iter([{"AP": 0.5}, {"AP": 0.48}])
    monkeypatch.setattr(export.bundle, "measured_ap", lambda *args: next(measured))
    with pytest.raises(VerificationError, match=r"int8 loses 0\.0200 AP against fp32 \(0\.5\)"):
        export_to(
            tmp_path / "out",
            checkpoint,
            precisions=precisions,
            data=data,
            calibration=small_scenes / "images",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("trusting")
def test_measured_ap_lands_in_the_manifest(
    tmp_path: Path,
    checkpoint: Checkpoint,
    data: DataSet,
    small_scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = iter([{"AP": 0.5}, {"AP": 0.495}])
    monkeypatch.setattr(export.bundle, "measured_ap", lambda *args: next(measured))
    manifest = export_to(
        tmp_path / "out",
        checkpoint,
        precisions=("int8", "fp32"),
        data=data,
        calibration=small_scenes / "images",
    )
    assert [graph.precision for graph in manifest.graphs] == ["int8", "fp32"]
    assert manifest.metrics["export"] == {
        "fp32": {"64": {"AP": 0.5}},
        "int8": {"64": {"AP": 0.495}},
    }
    assert manifest.metrics["data"] == {"name": "annotations.json", "images": 6}


def test_ap_is_measured_on_graphs_for_cpus_alone(
    tmp_path: Path, checkpoint: Checkpoint, data: DataSet
) -> None:
    said = refusal(tmp_path / "out", checkpoint, flavours=("tensor",), data=data)
    assert said == "--data: AP is measured on graphs of flavour cpu; add it to --flavour"


def test_source_facts_name_the_file_and_its_hash(
    tiny_checkpoint: Path, checkpoint: Checkpoint
) -> None:
    facts = source_facts(tiny_checkpoint, checkpoint)
    assert (facts["checkpoint"], facts["step"], len(facts["sha256"])) == ("tiny.pt", 7, 64)


def test_precisions_are_read_in_order_without_repeats() -> None:
    assert precisions_of("int8, fp32,int8") == ["int8", "fp32"]
    with pytest.raises(InputError, match="precision 'int4': accepted are fp32, fp16, int8"):
        precisions_of("fp32,int4")


def test_flavours_are_read_in_order_without_repeats() -> None:
    assert flavours_of("tensor,cpu, tensor") == ["tensor", "cpu"]
    with pytest.raises(InputError, match="flavour 'gpu': accepted are cpu, tensor"):
        flavours_of("gpu")


FEW = Thresholds(pre_nms_top_k=250, max_detections=100)
"""Two blocks of NMS, in fractions of a second on a CPU."""


@pytest.mark.slow
def test_both_flavours_go_into_one_bundle(tmp_path: Path, checkpoint: Checkpoint) -> None:
    out = tmp_path / "out"
    manifest = export_to(out, checkpoint, flavours=("cpu", "tensor"), thresholds=FEW)
    assert [graph.file for graph in manifest.graphs] == ["new-fp32.onnx", "new-fp32-tensor.onnx"]
    for graph in manifest.graphs:
        assert graph.parity["detections"] > 50
        assert graph.parity["worst_box_px"] < 0.05
    bundle = read_bundle(out)
    for graph in manifest.graphs:
        proto = onnx.load(bundle.graph_path(graph))
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        manifest.check_facts(metadata, graph)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_half_precision_exports_and_verifies(
    tmp_path: Path, checkpoint: Checkpoint, flavour: Flavour
) -> None:
    manifest = export_to(
        tmp_path / "out", checkpoint, precisions=("fp16",), flavours=(flavour,), thresholds=FEW
    )
    parity = manifest.graph_of("fp16", flavour).parity
    assert parity["detections"] > 50
    assert 1e-4 < parity["worst_score"] <= 0.05


@pytest.mark.slow
def test_8_bits_of_the_tensor_flavour_export_and_verify(
    tmp_path: Path, checkpoint: Checkpoint, small_scenes: Path
) -> None:
    manifest = export_to(
        tmp_path / "out",
        checkpoint,
        precisions=("int8",),
        flavours=("tensor",),
        thresholds=FEW,
        calibration=small_scenes / "images",
    )
    assert [graph.file for graph in manifest.graphs] == ["new-int8-tensor.onnx"]
    assert manifest.graphs[0].parity["detections"] > 50
