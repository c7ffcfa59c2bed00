"""What is not there is a sentence."""

from __future__ import annotations

import pytest

from loadtest.bench import installed
from loadtest.bench.installed import check_engines, check_makers, check_matplotlib
from model.errors import InputError


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("openvino", "--engines openvino: accepted are onnxruntime, tensorrt, torch, eager"),
        ("tensorrt", "--engines tensorrt: needs a GPU; give --device cuda:0"),
    ],
)
def test_engine_that_cannot_be_had_is_a_sentence(engine: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_engines([engine], "cpu")
    assert str(caught.value) == said


def test_engine_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        check_engines(["onnxruntime"], "cpu")
    assert str(caught.value) == (
        "--engines onnxruntime: needs onnxruntime, which is not installed: "
        "pip install 'retinaserve[cpu]' brings it"
    )


def test_plot_without_matplotlib_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--plot: needs matplotlib.*'retinaserve\[loadtest\]'"):
        check_matplotlib()


def test_making_a_graph_names_what_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"torch", "onnx"}
    monkeypatch.setattr(
        installed.importlib.util, "find_spec", lambda name: name if name in has else None
    )
    with pytest.raises(InputError, match=r"--arch: needs onnxscript, .*'retinaserve\[export\]'"):
        check_makers("--arch")
