from __future__ import annotations

from pathlib import Path

import pytest

from export.draft import draft_facts, source_facts
from export.manifest import Graph, manifest_of
from model.checkpoint import Checkpoint, load_checkpoint
from model.errors import InputError
from model.files import sha256_of
from model.letterbox import Canvas

PLACEHOLDER = Graph(file="x.onnx", precision="fp32", sha256="0" * 64, opset=18)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


def test_facts_and_a_graph_make_a_manifest(checkpoint: Checkpoint) -> None:
    facts = draft_facts(checkpoint, {"step": 7}, canvases=(Canvas(64, 96), Canvas(96, 128)))
    manifest = manifest_of(facts | {"graphs": [PLACEHOLDER]})
    assert (manifest.name, manifest.version) == ("tiny", "1")
    assert manifest.classes == ["Platelets", "RBC", "WBC"]
    assert manifest.canvases == {64: ["64x96"], 96: ["96x128"]}
    assert manifest.default_scale == 96
    assert manifest.anchors == checkpoint.architecture.anchors
    assert (manifest.mean, manifest.std) == (checkpoint.mean, checkpoint.std)
    assert manifest.source == {"step": 7}


def test_default_scale_is_that_of_the_training(checkpoint: Checkpoint) -> None:
    assert list(draft_facts(checkpoint, {})["canvases"]) == [64]
    silent = Checkpoint(checkpoint.architecture, checkpoint.classes, checkpoint.state)
    assert list(draft_facts(silent, {})["canvases"]) == [800]
    assert draft_facts(silent, {})["name"] == "model"


def test_canvases_that_no_scale_fits_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match="scale 96 has no canvas"):
        draft_facts(checkpoint, {}, scales=(64, 96), canvases=(Canvas(64, 96),))


def test_source_names_the_file_its_hash_and_the_architecture(
    tiny_checkpoint: Path, checkpoint: Checkpoint
) -> None:
    facts = source_facts(tiny_checkpoint, checkpoint)
    assert (facts["checkpoint"], facts["step"]) == ("tiny.pt", 7)
    assert facts["sha256"] == sha256_of(tiny_checkpoint)
    assert facts["recipe"]["name"] == "tiny"
    assert (facts["architecture"]["backbone"], facts["architecture"]["head_width"]) == (
        "mobilenet_v2",
        40,
    )
