"""Exporting is all or nothing, and says no before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import export.bundle
from export.bundle import ExportRule, export_bundle, precisions_of, source_facts
from export.manifest import Bundle, Manifest, read_bundle
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
    import onnx

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


@pytest.mark.usefixtures("trusting")
def test_parent_folders_are_made(tmp_path: Path, checkpoint: Checkpoint) -> None:
    export_to(tmp_path / "a" / "b", checkpoint)
    assert read_bundle(tmp_path / "a" / "b").manifest.name == "new"


@pytest.mark.usefixtures("trusting")
def test_current_folder_may_be_the_bundle(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    export_to(Path(), checkpoint)
    assert read_bundle(folder).manifest.name == "new"


@pytest.mark.usefixtures("trusting")
def test_link_to_a_bundle_stays_a_link(old: Path, checkpoint: Checkpoint) -> None:
    link = old.parent / "current"
    link.symlink_to(old)
    export_to(link, checkpoint)
    assert link.is_symlink()
    assert read_bundle(old).manifest.name == "new"


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


@pytest.mark.usefixtures("trusting")
def test_old_bundle_comes_back_when_the_new_cannot_take_its_place(
    old: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if target == old and "-old" not in self.name:
            raise OSError("read-only file system")
        return rename(self, target)

    before = snapshot(old.parent)
    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="read-only"):
        export_to(old, checkpoint)
    assert snapshot(old.parent) == before


def test_foreign_folder_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is not empty and holds no bundle: choose another --out" in refusal(tmp_path, checkpoint)
    assert snapshot(tmp_path) == {"thesis.txt": b"years of work"}


def test_folder_with_another_tools_manifest_is_refused(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    assert "holds no bundle" in refusal(tmp_path, checkpoint)


def test_foreign_file_beside_the_bundle_is_refused(old: Path, checkpoint: Checkpoint) -> None:
    (old / "notes.txt").write_text("mine")
    assert "holds notes.txt, which is no part of the bundle" in refusal(old, checkpoint)
    assert (old / "notes.txt").read_text() == "mine"


def test_file_as_out_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file: --out names the bundle's folder" in refusal(tmp_path / "file", checkpoint)


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


def test_source_facts_name_the_file_and_its_hash(
    tiny_checkpoint: Path, checkpoint: Checkpoint
) -> None:
    facts = source_facts(tiny_checkpoint, checkpoint)
    assert (facts["checkpoint"], facts["step"], len(facts["sha256"])) == ("tiny.pt", 7, 64)


def test_precisions_are_read_in_order_without_repeats() -> None:
    assert precisions_of("int8, fp32,int8") == ["int8", "fp32"]
    with pytest.raises(InputError, match="precision 'int4': accepted are fp32, fp16, int8"):
        precisions_of("fp32,int4")


@pytest.mark.slow
def test_half_precision_exports_and_verifies(tmp_path: Path, checkpoint: Checkpoint) -> None:
    manifest = export_to(tmp_path / "out", checkpoint, precisions=("fp16",))
    parity = manifest.graph_of("fp16").parity
    assert parity["detections"] > 100
    assert 1e-4 < parity["worst_score"] <= 0.05
