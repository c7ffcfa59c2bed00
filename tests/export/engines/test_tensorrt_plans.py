"""Plans on disk: what fits is handed out, anything else is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.engines import tensorrt_plans
from export.engines.tensorrt_cuda import Gpu
from export.engines.tensorrt_plans import (
    BuildRule,
    Environment,
    PlanFacts,
    find_plan,
    plan_folder,
    plans_in,
    timing_cache,
    write_plan,
)
from export.manifest import BundleError, Graph

HERE = Environment(tensorrt="11.4.0.106", gpu="NVIDIA L4", capability="8.9", driver="13.0")
GRAPH = Graph(
    file="cells-fp16-tensor.onnx", precision="fp16", flavour="tensor", sha256="a" * 64, opset=18
)


def facts(
    rule: dict[str, Any] | None = None, here: dict[str, str] | None = None, **more: Any
) -> PlanFacts:
    given = {
        "file": GRAPH.file,
        "graph_sha256": GRAPH.sha256,
        "facts_sha256": "b" * 64,
        "precision": "fp16",
        "environment": HERE.model_copy(update=here or {}),
        "rule": BuildRule(**(rule or {})),
        "canvases": ["480x640"],
    }
    return PlanFacts(**(given | more))


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_plan(tmp_path / "plans", facts(), b"plan")
    found = find_plan(tmp_path / "plans", GRAPH, HERE)
    assert (found.path, found.facts, found.read()) == (written.path, facts(), b"plan")
    assert found.path.name.startswith("cells-fp16-tensor-")


def test_environment_of_a_gpu() -> None:
    assert Environment.here("11.4.0.106", Gpu("NVIDIA L4", "8.9", "13.0")) == HERE


@pytest.mark.parametrize(
    "other",
    [
        facts(graph_sha256="c" * 64),
        facts(here={"tensorrt": "11.3.0.99"}),
        facts(here={"gpu": "NVIDIA A10"}),
        facts(here={"capability": "8.6"}),
        facts(here={"driver": "12.9"}),
        facts(rule={"refit": True}),
        facts(rule={"version_compatible": True}),
        facts(rule={"max_batch": 9}),
    ],
)
def test_the_key_holds_all_that_decides(other: Any) -> None:
    assert other.key != facts().key
    assert len(other.key) == 16


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (
            {"gpu": "NVIDIA A10", "capability": "8.6"},
            "was built for NVIDIA A10 (8.6), this is NVIDIA L4 (8.9)",
        ),
        ({"tensorrt": "10.16.1.11"}, "was built by TensorRT 10.16.1.11, this is 11.4.0.106"),
        ({"driver": "12.9"}, "was built under a driver for CUDA 12.9, this is 13.0"),
    ],
)
def test_a_plan_of_elsewhere_is_refused(tmp_path: Path, here: dict[str, str], said: str) -> None:
    plan = write_plan(tmp_path, facts(here=here), b"plan")
    with pytest.raises(BundleError) as told:
        find_plan(tmp_path, GRAPH, HERE)
    assert str(told.value) == (
        f"{plan.path}: this plan {said}; build it again: `retinaserve build BUNDLE`"
    )


def test_one_that_fits_is_found_beside_others(tmp_path: Path) -> None:
    right = write_plan(tmp_path, facts(), b"right")
    write_plan(tmp_path, facts(here={"gpu": "NVIDIA A10"}), b"wrong")
    write_plan(tmp_path, facts(graph_sha256="c" * 64), b"wrong too")
    assert find_plan(tmp_path, GRAPH, HERE).path == right.path


@pytest.mark.parametrize(
    ("built", "runs"),
    [("11.3.0.99", True), ("11.4.0.106", True), ("11.10.0.1", False), ("10.16.1.11", False)],
)
def test_version_compatible_plans_run_in_later_versions(built: str, runs: bool) -> None:
    plan = facts(rule={"version_compatible": True}, here={"tensorrt": built})
    assert (plan.misfit(HERE) is None) is runs


def test_no_plan_is_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match="holds no TensorRT plan of cells-fp16-tensor; build"):
            find_plan(folder, GRAPH, HERE)


def test_a_plan_of_an_older_graph_is_told(tmp_path: Path) -> None:
    write_plan(tmp_path, facts(graph_sha256="c" * 64), b"old")
    with pytest.raises(BundleError, match=r"a plan of an older cells-fp16-tensor\.onnx only"):
        find_plan(tmp_path, GRAPH, HERE)


def test_an_altered_plan_is_refused(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, facts(), b"plan")
    plan.path.write_bytes(b"plam")
    assert not plan.is_whole()
    with pytest.raises(BundleError, match="this plan was altered; build it again"):
        find_plan(tmp_path, GRAPH, HERE).read()


def test_a_plan_that_went_missing_is_refused(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, facts(), b"plan")
    plan.path.unlink()
    assert not plan.is_whole()
    with pytest.raises(BundleError, match="this plan is missing; build it again"):
        plan.read()


@pytest.mark.parametrize("content", ["", "{}", '{"plan_sha256": "x", "facts": {"format": 2}}'])
def test_a_description_that_is_none_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert plans_in(tmp_path) == []


def test_a_write_that_is_cut_off_leaves_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plan(tmp_path, facts(), b"old")
    right = tensorrt_plans.whole_file

    def cut_off(path: Path) -> Any:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        return right(path)

    monkeypatch.setattr(tensorrt_plans, "whole_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_plan(tmp_path, facts(), b"new")
    assert plans_in(tmp_path) == []


def test_where_plans_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("RETINASERVE_PLANS", raising=False)
    assert plan_folder() == tmp_path / ".cache/retinaserve/tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert plan_folder() == Path("/cache/retinaserve/tensorrt")
    monkeypatch.setenv("RETINASERVE_PLANS", "/plans")
    assert plan_folder() == Path("/plans")


def test_timings_are_kept_by_gpu_and_version(tmp_path: Path) -> None:
    assert timing_cache(tmp_path, HERE).name == "timings-NVIDIA-L4-8.9-11.4.0.106.cache"
