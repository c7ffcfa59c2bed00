"""A row of `retinaserve bench`, by hand."""

from __future__ import annotations

from loadtest.bench.row import Row
from loadtest.bench.spread import Spread

SPREAD = Spread(100.0, 99.0, 102.0)
ROW = Row(
    model="known",
    engine="onnxruntime",
    precision="int8",
    scale=800,
    canvas="800x1088",
    batch=1,
    rounds=5,
    total=SPREAD,
    preprocess=SPREAD,
    session=SPREAD,
    finish=SPREAD,
    images_per_s=10.0,
    detections=5.0,
)
"""Without what is not always known: accuracy, operations, memory, the paper's figures."""
