"""Which engine opens what, and what is said where one can't."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from export.engines import registry
from export.engines.device import Device
from export.engines.onnxruntime_session import OnnxRuntimeSession
from export.engines.registry import ENGINES, open_session
from export.manifest import Bundle
from model.errors import InputError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.engines.device.gpu_count", lambda: 2)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """`without("torch")`: as if the package were not installed."""
    find = importlib.util.find_spec

    def hide(*packages: str) -> None:
        monkeypatch.setattr(
            registry.importlib.util,
            "find_spec",
            lambda name: None if name in packages else find(name),
        )

    return hide


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: name)


def test_bundle_opens_in_onnxruntime_of_itself(
    tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "export.engines.registry"):
        session = open_session(tiny_bundle.folder, threads=1)
    assert isinstance(session, OnnxRuntimeSession)
    assert session.precision == "fp32"
    assert "engine onnxruntime: no other opens" in caplog.text


def test_the_only_engine_is_taken_without_a_trial(tiny_bundle: Bundle) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from export.engines.registry import open_session\n"
        f"open_session(Path({str(tiny_bundle.folder)!r}), threads=1)\n"
        "heavy = {'torch', 'tensorrt', 'onnx', 'export.engines.choice', 'export.inputs'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_checkpoint_opens_in_torch_of_itself(tiny_checkpoint: Path) -> None:
    session = open_session(tiny_checkpoint, threads=1)
    assert session.engine.startswith("torch-")
    assert session.manifest.scales == (64,)


@pytest.mark.usefixtures("two_gpus")
def test_several_candidates_are_left_to_the_choice(
    tiny_bundle: Bundle, all_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "export.engines.choice.fastest_session",
        lambda names, rule, open_engine: asked.append((names, rule.device)),
    )
    open_session(tiny_bundle.folder, "auto", "cuda:1")
    assert asked == [(["onnxruntime", "tensorrt"], Device("cuda", 1))]


def test_unknown_engine_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(
        InputError,
        match="engine 'openvino': accepted are auto, onnxruntime, tensorrt, torch",
    ):
        open_session(tiny_bundle.folder, "openvino")


@pytest.mark.parametrize(
    ("engine", "device", "package", "extra"),
    [
        ("onnxruntime", "cpu", "onnxruntime", "cpu"),
        ("onnxruntime", "cuda:0", "onnxruntime", "gpu"),
        ("tensorrt", "cuda:0", "tensorrt", "tensorrt"),
        ("torch", "cpu", "torch", "export"),
        ("torch", "cuda:0", "torch", "export"),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_missing_package_is_named_with_its_extra(
    tiny_bundle: Bundle, tiny_checkpoint: Path, without, engine, device, package, extra
) -> None:
    without(package)
    path = tiny_checkpoint if engine == "torch" else tiny_bundle.folder
    with pytest.raises(
        InputError,
        match=rf"engine {engine} needs {package}, which is not installed: "
        rf"pip install 'retinaserve\[{extra}\]' brings it",
    ):
        open_session(path, engine, device)


def test_auto_says_what_each_engine_lacks(tiny_bundle: Bundle, without) -> None:
    without("onnxruntime", "tensorrt", "torch")
    with pytest.raises(InputError) as error:
        open_session(tiny_bundle.folder)
    text = str(error.value)
    assert "needs onnxruntime, which is not installed" in text
    assert "engine tensorrt needs a GPU" in text
    assert "engine torch opens the file of a checkpoint" in text


def test_checkpoint_is_no_bundle(tiny_checkpoint: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"engine onnxruntime opens the folder of a bundle; `retinaserve export .*tiny\.pt",
    ):
        open_session(tiny_checkpoint, "onnxruntime")


def test_bundle_is_no_checkpoint(tiny_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="engine torch opens the file of a checkpoint, not"):
        open_session(tiny_bundle.folder, "torch")


def test_tensorrt_on_the_cpu_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="engine tensorrt needs a GPU: give --device cuda:0"):
        open_session(tiny_bundle.folder, "tensorrt", "cpu")


def test_gpu_that_is_not_there_is_refused(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.engines.device.gpu_count", lambda: 1)
    with pytest.raises(InputError, match="device cuda:1: there is none; accepted are cpu, cuda:0"):
        open_session(tiny_bundle.folder, "onnxruntime", "cuda:1")


@pytest.mark.parametrize("options", [{"scales": (64,)}, {"compiled": True}])
def test_what_is_for_checkpoints_is_refused_with_a_bundle(tiny_bundle: Bundle, options) -> None:
    with pytest.raises(InputError, match="accepted with a checkpoint of engine torch"):
        open_session(tiny_bundle.folder, **options)


def test_path_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bundle here"):
        open_session(tmp_path / "nothing")


def test_every_engine_has_its_module() -> None:
    for engine in ENGINES.values():
        assert importlib.util.find_spec(engine.module) is not None
