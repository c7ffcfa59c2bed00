"""Exporting without the exporter, where what comes around it is tested."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

import export.bundle
from export.manifest import Bundle, Precision


@pytest.fixture
def ready_graphs(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs come from `tiny_bundle` instead of half a minute of tracing and quantizing."""

    def graph(precision: Precision) -> Callable[..., onnx.ModelProto]:
        path = tiny_bundle.graph_path(tiny_bundle.manifest.graph_of(precision))
        return lambda *args: onnx.load(path)

    monkeypatch.setattr(export.bundle, "to_onnx", graph("fp32"))
    monkeypatch.setattr(export.bundle, "quantized", graph("int8"))
