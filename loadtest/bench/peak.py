"""The most arithmetic a second that an engine gets out of this machine's cores."""

from __future__ import annotations

import importlib.util
import time
from typing import Any, NamedTuple

import numpy as np

from export.manifest import Precision


class Product(NamedTuple):
    """A product of two square matrices: its graph in ONNX's notation, the matrices' types.

    Source of the notation: https://onnx.ai/onnx/repo-docs/Syntax.html
    """

    graph: str
    left: type[np.generic]
    right: type[np.generic]


PRODUCTS: dict[Precision, Product] = {
    "fp32": Product(
        "f (float[N, N] a, float[N, N] b) => (float[N, N] c) { c = MatMul(a, b) }",
        np.float32,
        np.float32,
    ),
    "int8": Product(
        "f (uint8[N, N] a, int8[N, N] b) => (int32[N, N] c) { c = MatMulInteger(a, b) }",
        np.uint8,
        np.int8,
    ),
}

HEADER = '<ir_version: 8, opset_import: ["": 13]>'

SIDES = (512, 640, 768)
"""Enough to keep the cores busy, and both matrices lie in their caches."""

TRIES = 20


def peak_gflops(threads: int) -> dict[Precision, float]:
    """The most GFLOP/s of a matrix product in ONNX Runtime, by precision: the best of several.

    Convolutions are made of such products, so that a network comes near this but not past it; that
    of numpy is some percent slower. Empty unless onnx and ONNX Runtime are installed.
    """
    if not all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime")):
        return {}
    return {
        precision: round(max(_gflops(product, side, threads) for side in SIDES), 1)
        for precision, product in PRODUCTS.items()
    }


def _gflops(product: Product, side: int, threads: int) -> float:
    session = _session(product, threads)
    feed = {
        "a": np.ones((side, side), product.left),
        "b": np.ones((side, side), product.right),
    }
    fastest_s = np.inf
    for _ in range(TRIES):
        start = time.perf_counter()
        session.run(None, feed)
        fastest_s = min(fastest_s, time.perf_counter() - start)
    return float(2 * side**3 / fastest_s / 1e9)


def _session(product: Product, threads: int) -> Any:
    import onnxruntime as ort
    from onnx import parser

    from export.engines.onnxruntime_session import session_options

    graph = parser.parse_model(f"{HEADER} {product.graph}").SerializeToString()
    return ort.InferenceSession(graph, session_options(threads), ["CPUExecutionProvider"])
