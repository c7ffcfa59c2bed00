from __future__ import annotations

from pathlib import Path

import pytest

from export.manifest import Bundle
from loadtest.bench.subject import Subject, needs_graphs, subject_of_bundle
from model.errors import InputError


def test_bundle_runs_its_own_precisions_first_first(tiny_bundle: Bundle) -> None:
    found, left_out = subject_of_bundle(tiny_bundle.folder).contenders(["onnxruntime"], [], "cpu")
    assert [str(one) for one in found] == ["onnxruntime fp32", "onnxruntime int8"]
    assert left_out == []


def test_what_cannot_run_is_left_out_with_a_reason(tiny_bundle: Bundle) -> None:
    made = Subject("tiny", tiny_bundle.folder, tiny_bundle.manifest, Path("tiny.pt"))
    found, left_out = made.contenders(["onnxruntime", "torch"], ["int8", "fp16"], "cpu")
    assert [str(one) for one in found] == ["onnxruntime int8", "torch fp16"]
    assert left_out == [
        "onnxruntime fp16: no such graph of flavour cpu; there are fp32, int8",
        "torch int8: runs fp32, fp16, bf16",
    ]


def test_nothing_to_measure_is_a_sentence(tiny_bundle: Bundle) -> None:
    bundle = subject_of_bundle(tiny_bundle.folder)
    with pytest.raises(InputError, match="nothing to measure: torch fp32: a bundle holds no"):
        bundle.contenders(["torch"], ["fp32"], "cpu")


def test_ap_is_that_of_the_graph_and_scale(tiny_bundle: Bundle) -> None:
    metrics = {"export": {"fp32": {"96": {"AP": 0.25}, "64": {"AP": None}}}}
    manifest = tiny_bundle.manifest.model_copy(update={"metrics": metrics})
    made = Subject("tiny", tiny_bundle.folder, manifest)
    assert made.ap(96, "fp32") == 0.25
    assert made.ap(64, "fp32") is None
    assert made.ap(96, "int8") is None


def test_graphs_are_for_the_engines_that_open_bundles() -> None:
    assert needs_graphs(["eager", "tensorrt"])
    assert not needs_graphs(["torch", "eager"])
