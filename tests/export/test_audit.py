"""A bundle is verified as a whole: its files, its records, its graphs; and every tampering told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.audit
import export.graph_audit
from export.audit import Against, AuditRule, audit, write_results
from export.graph_audit import GraphAudit
from export.inputs import drawn_pictures, placed
from export.manifest import METADATA_KEY, Bundle, read_bundle, write_manifest
from model.checkpoint import Checkpoint, load_checkpoint
from model.data.coco import read_coco
from model.errors import InputError
from model.files import sha256_of
from model.letterbox import Canvas
from tests.tiny import make_tiny_checkpoint


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle` to spoil."""
    return shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch of two: how far graphs lie apart is measured in other tests."""
    canvas = Canvas(96, 128)
    batch = [placed(picture, 96, [canvas]) for picture in drawn_pictures(canvas, 2)]
    monkeypatch.setattr(export.audit, "comparison_batches", lambda *args: [batch])
    monkeypatch.setattr(export.graph_audit, "largest_batch_of", lambda flavour: 2)


def audited(folder: Path, rule: AuditRule = AuditRule()) -> list[GraphAudit]:  # noqa: B008
    return audit(read_bundle(folder), rule, lambda _: None)


def refusal(folder: Path, rule: AuditRule = AuditRule()) -> str:  # noqa: B008
    with pytest.raises(InputError) as error:
        audited(folder, rule)
    assert "\n" not in str(error.value)
    return str(error.value)


def tamper(folder: Path, change: Callable[[onnx.ModelProto], object], number: int = 0) -> None:
    """Changes a graph as somebody would who also corrects the manifest's hash."""
    manifest = read_bundle(folder).manifest
    path = folder / manifest.graphs[number].file
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)
    correct_hash(folder, number)


def correct_hash(folder: Path, number: int = 0) -> None:
    manifest = read_bundle(folder).manifest
    graphs = list(manifest.graphs)
    graph = graphs[number]
    graphs[number] = graph.model_copy(update={"sha256": sha256_of(folder / graph.file)})
    write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))


def initializer(proto: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(entry for entry in proto.graph.initializer if entry.name == name)


def edit(entry: onnx.TensorProto, change: Callable[[Any], Any]) -> None:
    values = change(numpy_helper.to_array(entry).copy())
    entry.CopyFrom(numpy_helper.from_array(values, entry.name))


def test_untouched_bundle_is_within_all_bounds(folder: Path) -> None:
    results = audited(folder)
    assert [(r.graph.file, r.departure, r.notes) for r in results] == [
        ("tiny-fp32.onnx", None, []),
        ("tiny-int8.onnx", None, []),
    ]
    company = {"alone_worst_box_px", "alone_worst_score"}
    assert set(results[0].report) == {"golden_record", *company}
    assert set(results[1].report) == {"golden_record", "beside"}
    beside = results[1].report["beside"]
    assert beside["graph"] == "tiny-fp32.onnx"
    assert beside["stages"]["logits_p3"]["worst"] > 0
    assert beside["stages"]["candidates"]["matched_share"] > 0.6
    assert company < beside.keys()


def test_checkpoint_is_compared_with_the_graph_asked_for(
    folder: Path, checkpoint: Checkpoint, tiny_checkpoint: Path
) -> None:
    rule = AuditRule(against=Against(checkpoint, tiny_checkpoint), precision="fp32")
    (result,) = audited(folder, rule)
    assert result.departure is None
    assert result.report["against"] == {
        "checkpoint": "tiny.pt", "sha256": sha256_of(tiny_checkpoint),
    }  # fmt: skip
    assert result.report["images"] == 2
    assert "logits_p3" in result.report["stages"]


def test_results_are_added_to_the_manifest_and_nothing_else_changes(folder: Path) -> None:
    before = read_bundle(folder).manifest
    rule = AuditRule(precision="fp32")
    write_results(read_bundle(folder), audited(folder, rule), rule)
    after = read_bundle(folder).manifest
    assert after.graphs[0].parity == {
        **before.graphs[0].parity,
        "golden_record": after.graphs[0].parity["golden_record"],
    }
    blank = [g.model_copy(update={"parity": {}}) for g in before.graphs]
    assert [g.model_copy(update={"parity": {}}) for g in after.graphs] == blank
    assert after.graphs[1] == before.graphs[1]
    assert after.model_copy(update={"graphs": blank}) == before.model_copy(update={"graphs": blank})


def test_results_of_an_engine_stand_apart(folder: Path) -> None:
    before = read_bundle(folder).manifest.graphs[0].parity
    result = GraphAudit(read_bundle(folder).manifest.graphs[0], "fast-1.0", report={"images": 5})
    write_results(read_bundle(folder), [result], AuditRule(engine="auto", device="cuda:1"))
    parity = read_bundle(folder).manifest.graphs[0].parity
    assert parity == {**before, "engines": {"fast-1.0 on cuda:1": {"images": 5}}}


def test_flipped_weight_is_caught_by_the_golden_record(folder: Path) -> None:
    def flip(proto: onnx.ModelProto) -> None:
        stem = next(entry for entry in proto.graph.initializer if list(entry.dims[1:]) == [3, 3, 3])

        def change(values: Any) -> Any:
            values[np.unravel_index(np.abs(values).argmax(), values.shape)] *= -1
            return values

        edit(stem, change)

    tamper(folder, flip)
    fp32 = audited(folder)[0]
    assert fp32.departure is not None
    assert fp32.departure.stage == "golden record"


def test_graph_unlike_the_others_is_caught_without_a_record(folder: Path) -> None:
    def swap(proto: onnx.ModelProto) -> None:
        bias = next(e for e in proto.graph.initializer if list(e.dims) == [27])
        edit(bias, lambda values: np.tile(np.float32([3, -9, -9]), 9))

    tamper(folder, swap)
    manifest = read_bundle(folder).manifest
    graphs = [graph.model_copy(update={"golden": []}) for graph in manifest.graphs]
    write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))
    fp32, int8 = audited(folder)
    assert fp32.notes == [
        "the bundle has no golden record: it is of an older export; export it again"
    ]
    assert int8.departure is not None
    assert int8.departure.stage == "logits P3"


def test_nothing_to_compare_with_is_no_pass(folder: Path) -> None:
    manifest = read_bundle(folder).manifest
    graphs = [graph.model_copy(update={"golden": []}) for graph in manifest.graphs]
    write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))
    assert "nothing to compare its graph with" in refusal(folder, AuditRule(precision="fp32"))


@pytest.mark.parametrize(("name", "value"), [("score_threshold", 0.2), ("iou_threshold", 0.6)])
def test_changed_threshold_constant_is_caught(folder: Path, name: str, value: float) -> None:
    def change(proto: onnx.ModelProto) -> None:
        edit(initializer(proto, name), lambda _: np.array([value], np.float32))

    tamper(folder, change)
    assert refusal(folder).startswith(f"tiny-fp32.onnx has {name} {value:g}, manifest.json says 0.")


def test_graph_that_the_linter_refuses_is_named(folder: Path) -> None:
    tamper(folder, lambda proto: proto.graph.node.add(op_type="If", name="branch"))
    assert "tiny-fp32.onnx" in refusal(folder)


def test_cut_file_is_caught_by_its_hash_and_without_it(folder: Path) -> None:
    path = folder / "tiny-fp32.onnx"
    path.write_bytes(path.read_bytes()[:100_000])
    assert "tiny-fp32.onnx: sha256 is " in refusal(folder)
    correct_hash(folder)
    assert "tiny-fp32.onnx: no graph that ONNX Runtime can load (" in refusal(folder)


def test_edited_hash_is_caught(folder: Path) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    raw["graphs"][1]["sha256"] = "0" * 64
    path.write_text(json.dumps(raw))
    assert "tiny-int8.onnx: sha256 is " in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", [0.5, 0.5, 0.5]),
        ("std", [0.2, 0.2, 0.2]),
        ("classes", ["WBC", "RBC", "Platelets"]),
        ("default_scale", 64),
        ("anchors", {"sizes": [30, 60, 120, 240, 480]}),
        ("thresholds", {"score_threshold": 0.2}),
    ],
)
def test_edited_manifest_is_caught(folder: Path, key: str, value: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert f"tiny-fp32.onnx and manifest.json disagree on {key}" in refusal(folder)


def test_swapped_graph_files_are_caught_by_their_hash_and_without_it(folder: Path) -> None:
    fp32, int8 = folder / "tiny-fp32.onnx", folder / "tiny-int8.onnx"
    shutil.copyfile(int8, fp32)
    assert "tiny-fp32.onnx: sha256 is " in refusal(folder)
    correct_hash(folder)
    assert "tiny-fp32.onnx and manifest.json disagree on precision" in refusal(folder)


def test_edited_metadata_is_caught(folder: Path) -> None:
    def rename(proto: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA_KEY)
        entry.value = entry.value.replace('"name": "tiny"', '"name": "other"')

    tamper(folder, rename)
    assert "tiny-fp32.onnx and manifest.json disagree on name" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"classes": ("RBC", "Platelets", "WBC")},
            "classes RBC, Platelets, WBC, in the bundle Platelets, RBC, WBC",
        ),
        ({"mean": (0.5, 0.5, 0.5)}, "mean 0.5, 0.5, 0.5, in the bundle 0.485, 0.456, 0.406"),
        ({"std": (0.5, 0.5, 0.5)}, "std 0.5, 0.5, 0.5, in the bundle 0.229, 0.224, 0.225"),
    ],
)
def test_checkpoint_of_another_model_is_refused(
    folder: Path, checkpoint: Checkpoint, changes: dict[str, Any], said: str
) -> None:
    other = Against(replace(checkpoint, **changes), Path("other.pt"))
    message = refusal(folder, AuditRule(against=other))
    assert message == (
        f"--against other.pt: not the model of bundle 'tiny': {said}; "
        "give the checkpoint that it was exported from"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head_width": 16}, "head_width 16, in the bundle 40"),
        ({"backbone": "resnet18"}, "backbone resnet18, in the bundle mobilenet_v2"),
    ],
)
def test_checkpoint_of_another_architecture_is_refused(
    folder: Path, checkpoint: Checkpoint, changes: dict[str, Any], said: str
) -> None:
    architecture = replace(checkpoint.architecture, **changes)
    other = Against(replace(checkpoint, architecture=architecture), Path("other.pt"))
    assert said in refusal(folder, AuditRule(against=other))


def test_checkpoint_of_another_training_departs_at_the_logits(
    folder: Path, tiny_checkpoint: Path
) -> None:
    """Same classes, anchors and architecture: the weights alone tell."""
    other = Against(make_tiny_checkpoint(seed=2), tiny_checkpoint)
    (result,) = audited(folder, AuditRule(against=other, precision="fp32"))
    assert result.departure is not None
    assert (result.departure.stage, result.departure.name) == ("logits P3", "worst_of_spread")
    assert result.departure.value > 0.1


def test_one_graph_is_compared_with_the_most_precise_one(folder: Path) -> None:
    (int8,) = audited(folder, AuditRule(precision="int8"))
    assert int8.report["beside"]["graph"] == "tiny-fp32.onnx"
    assert int8.departure is None


def test_engine_is_compared_with_the_most_precise_graph(folder: Path) -> None:
    (result,) = audited(folder, AuditRule(engine="onnxruntime", precision="fp32"))
    assert result.report["beside"]["graph"] == "tiny-fp32.onnx"
    assert result.report["beside"]["detections"] > 200
    assert result.notes == ["an engine shows no stages: detections alone are compared"]
    assert result.departure is None


def test_checkpoint_of_other_anchors_is_refused(folder: Path, checkpoint: Checkpoint) -> None:
    anchors = replace(checkpoint.architecture.anchors, offset=0.0)
    architecture = replace(checkpoint.architecture, anchors=anchors)
    other = Against(replace(checkpoint, architecture=architecture), Path("other.pt"))
    said = refusal(folder, AuditRule(against=other))
    assert "anchor offset 0.0, in the bundle 0.5" in said


def test_precision_that_the_bundle_lacks_is_refused(folder: Path) -> None:
    assert "has no fp16" in refusal(folder, AuditRule(precision="fp16"))


def test_ap_of_graph_and_checkpoint_are_compared(
    folder: Path, checkpoint: Checkpoint, tiny_checkpoint: Path, small_scenes: Path
) -> None:
    data = read_coco(small_scenes / "annotations.json", small_scenes / "images")
    data = replace(data, records=data.records[:2])
    rule = AuditRule(against=Against(checkpoint, tiny_checkpoint), data=data, precision="fp32")
    (result,) = audited(folder, rule)
    ap = result.report["ap"]
    assert (ap["data"], ap["images"], ap["scale"], ap["of"]) == (
        "annotations.json", 2, 96, "tiny.pt",
    )  # fmt: skip
    assert ap["AP"] == pytest.approx(ap["reference_AP"], abs=1e-3)
    assert result.departure is None


@pytest.mark.parametrize(("own", "within"), [(0.4905, True), (0.489, False)])
def test_lost_ap_is_past_the_bounds(
    folder: Path, small_scenes: Path, monkeypatch: pytest.MonkeyPatch, own: float, within: bool
) -> None:
    data = read_coco(small_scenes / "annotations.json", small_scenes / "images")
    measured = iter([{"AP": 0.5, "AP50": 0.6}, {"AP": own, "AP50": 0.6}])  # fp32, int8
    monkeypatch.setattr(export.audit, "measured_ap", lambda *args: next(measured))
    results = audited(folder, AuditRule(data=data))
    assert results[0].departure is None
    assert (results[1].departure is None) == within
