"""`retinaserve build`, with a TensorRT and a GPU that only check."""

from __future__ import annotations

import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import retinaserve
from export.cli import build
from export.contract import INPUTS
from export.engines.device import Device
from export.engines.session import SessionRule
from export.engines.tensorrt_session import open_session
from model.files import alone
from tests.export.engines.fake_gpu import FakeTensorRT
from tests.export.tensor_bundle import FILE, fake_tensorrt, write_bundle


@pytest.fixture(autouse=True)
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRT:
    """The fake in place of the packages, and plans in the test's folder."""
    modules = ("export.cli.build", "export.engines.tensorrt_session")
    return fake_tensorrt(monkeypatch, tmp_path / "plans", *modules)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    return tmp_path / "plans"


def call(*arguments: object) -> int:
    return retinaserve.main(["build", *map(str, arguments)])


def detections(bundle: Path) -> list[int]:
    session = open_session(SessionRule(bundle, Device("cuda")))
    images = np.zeros((2, 64, 32, 3), np.uint8)
    images[:, 0, 0, 0] = [3, 1]
    return [len(found) for found in session.run(images, np.full((2, 2), 32), 0.25, 0.5)]


def test_what_is_built_runs(
    bundle: Path, plans: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle, "--max-batch", 5) == 0
    (plan,) = plans.glob("*.plan")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0] == (f"building {FILE} for NVIDIA L4: this takes minutes")
    assert said.err.splitlines()[1].startswith(
        f"{plan}: built for NVIDIA L4 by TensorRT 11.4.0.106 in "
    )
    assert detections(bundle) == [3, 1]
    profiles = trt.engines[0].profiles
    assert [profile["images"] for profile in profiles] == [
        [[batch, height, width, 3] for batch in (1, 3, 5)]
        for height, width in [(32, 64), (64, 32), (64, 64)]
    ]
    assert profiles[0]["image_sizes"] == [[1, 2], [3, 2], [5, 2]]
    assert trt.engines[0].plan["flags"] == []  # fp32 is not TF32 either


def test_optional_inputs_stay_inputs(bundle: Path, trt: FakeTensorRT) -> None:
    assert call(bundle) == 0
    detections(bundle)
    graph = onnx.load_model_from_string(bytes.fromhex(trt.engines[0].plan["graph"])).graph
    assert [tensor.name for tensor in graph.initializer] == ["weight"]
    assert [value.name for value in graph.input] == list(INPUTS)


def test_what_is_there_is_not_built_again(
    bundle: Path, plans: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle) == 0
    assert call(bundle) == 0
    assert trt.builds == 1
    (plan,) = plans.glob("*.plan")
    assert capsys.readouterr().err.endswith(f"{plan}: was built already\n")
    assert call(bundle, "--max-batch", 2) == 0
    assert trt.builds == 2


@pytest.mark.parametrize("done", [True, False], ids=["it ends well", "it fails"])
def test_a_plan_that_another_builds_is_waited_for(
    bundle: Path,
    plans: Path,
    tmp_path: Path,
    trt: FakeTensorRT,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    done: bool,
) -> None:
    assert call(bundle, "--out", tmp_path / "other") == 0
    (plan,) = (tmp_path / "other").glob("*.plan")
    waits = threading.Event()

    def say(text: str) -> None:
        if text == "another process builds this plan":
            waits.set()

    monkeypatch.setattr(build, "_say", say)
    with ThreadPoolExecutor(1) as pool:
        with alone(plans / f"{plan.stem}.lock"):
            waiting = pool.submit(call, bundle)
            assert waits.wait(60)
            if done:
                shutil.copytree(tmp_path / "other", plans, dirs_exist_ok=True)
        assert waiting.result(60) == 0
    assert trt.builds == (1 if done else 2)
    assert detections(bundle) == [3, 1]


def test_another_plan_is_not_waited_for(bundle: Path, plans: Path, trt: FakeTensorRT) -> None:
    assert call(bundle, "--max-batch", 2) == 0
    (plan,) = plans.glob("*.plan")
    with alone(plans / f"{plan.stem}.lock"):
        assert call(bundle, "--max-batch", 3) == 0
        assert call(bundle, "--max-batch", 2) == 0  # it is there
    assert trt.builds == 2


def test_an_altered_plan_is_built_again(bundle: Path, plans: Path, trt: FakeTensorRT) -> None:
    assert call(bundle) == 0
    (plan,) = plans.glob("*.plan")
    plan.write_bytes(b"altered")
    assert call(bundle) == 0
    assert trt.builds == 2
    assert detections(bundle) == [3, 1]


def test_timings_of_one_build_serve_the_next(bundle: Path, plans: Path, trt: FakeTensorRT) -> None:
    cache = plans / "timings-NVIDIA-L4-8.9-11.4.0.106.cache"
    assert call(bundle) == 0
    assert cache.read_bytes() == b"+"
    assert call(bundle, "--max-batch", 2) == 0
    assert cache.read_bytes() == b"++"


def test_timings_of_another_gpu_are_not_believed(bundle: Path, tmp_path: Path) -> None:
    cache = tmp_path / "my.cache"
    cache.write_bytes(b"other GPU")
    assert call(bundle, "--timing-cache", cache) == 0
    assert cache.read_bytes() == b"+"


def test_new_weights_go_into_a_plan_that_takes_them(
    bundle: Path, plans: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle, "--refit") == 0
    write_bundle(bundle, weight=2.0)
    assert call(bundle, "--refit") == 0
    assert trt.builds == 1
    assert ": refitted for NVIDIA L4" in capsys.readouterr().err
    assert detections(bundle) == [3, 1]
    engine = trt.engines[-1]
    (weight,) = onnx.load_model_from_string(bytes.fromhex(engine.plan["graph"])).graph.initializer
    assert numpy_helper.to_array(weight).tolist() == [2.0]
    assert engine.refittable  # and the next training's too


def test_weights_that_a_plan_can_not_take_are_built(
    bundle: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.frozen_weights = ("weight",)
    assert call(bundle, "--refit") == 0
    write_bundle(bundle, weight=2.0)
    assert call(bundle, "--refit") == 0
    assert trt.builds == 2
    assert "can't take the new weights; building anew" in capsys.readouterr().err


def test_version_compatible_plans_run(bundle: Path) -> None:
    assert call(bundle, "--version-compatible") == 0
    assert detections(bundle) == [3, 1]


def test_without_a_plan_the_session_says_how_to_get_one(bundle: Path) -> None:
    with pytest.raises(ValueError, match="no TensorRT plan of cells-fp16-tensor; build it"):
        detections(bundle)


def test_a_graph_that_the_parser_refuses_is_told_by_node(
    bundle: Path, plans: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.refused = [
        ("TopK", f"node_{n}", n, "Invalid Node - node\nk is too large\n[f.cpp:1]") for n in range(5)
    ]
    assert call(bundle) == 2
    reason = "Invalid Node - node, k is too large"
    assert capsys.readouterr().err.splitlines()[-1] == (
        "retinaserve build: TensorRT 11.4.0.106 can't take this graph: "
        f"TopK 'node_0' (node 0): {reason}; TopK 'node_1' (node 1): {reason}; "
        f"TopK 'node_2' (node 2): {reason}; and 2 more"
    )
    assert not list(plans.glob("*.plan"))


def test_a_build_that_fails_gives_tensorrts_reason(
    bundle: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.fail_build = "no implementation of node 7"
    assert call(bundle) == 2
    assert (
        "can't build a plan of this graph: no implementation of node 7" in capsys.readouterr().err
    )


def test_an_input_that_decides_a_shape_is_refused(
    bundle: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.shape_inputs = ("max_detections",)
    assert call(bundle) == 2
    assert "the value of its input max_detections decides a shape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--max-batch", "0"], "--max-batch 0: accepted are 1 to 1024"),
        (["--device", "gpu"], "device 'gpu': accepted are cpu, cuda and cuda:N"),
        (["--precision", "int8"], "bundle 'cells' has no int8 tensor graph; it holds fp16 tensor"),
    ],
)
def test_bad_input_is_a_sentence(
    bundle: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle, *given) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"retinaserve build: {said}")
    assert error.count("\n") == 1


def test_missing_packages_and_gpus_are_sentences(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.engines import tensorrt_api, tensorrt_cuda

    monkeypatch.setattr(build, "load_tensorrt", tensorrt_api.load_tensorrt)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert call(bundle) == 2
    assert (
        "TensorRT is not installed here: pip install 'retinaserve[tensorrt]'"
        in capsys.readouterr().err
    )
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.6.1"))
    assert call(bundle) == 2
    assert "TensorRT 8.6.1 is installed; accepted are 10.16 to 11.x" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.16.1.11"))
    monkeypatch.setattr(build, "open_cuda", tensorrt_cuda.open_cuda)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert call(bundle) == 2
    assert "cuda-bindings, NVIDIA's package for CUDA" in capsys.readouterr().err
    assert call(bundle, "--device", "cpu") == 2
    assert "device cpu: TensorRT needs a GPU, for example cuda:0" in capsys.readouterr().err
