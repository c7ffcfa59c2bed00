"""A checkpoint in torch on the CPU: its session, where its time goes, how much it computes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.engines.session import Session
from export.engines.torch_session import (
    DTYPES,
    TorchSession,
    manifest_of_checkpoint,
    network_of,
)
from export.manifest import Precision
from loadtest.bench.stages import Shares, shares_of
from model.checkpoint import load_checkpoint
from model.cores import available_cores
from model.letterbox import Canvas
from model.retinanet import Architecture, RetinaNet

RUNS = 5
WARM_UP_RUNS = 1


def open_network(
    path: Path, precision: Precision, scales: tuple[int, ...], *, plain: bool
) -> tuple[TorchSession, RetinaNet]:
    """A session and the network that it runs: the service's own, or the `plain` model in eager
    float32, nothing folded or laid out for speed, as a script would run it.
    """
    checkpoint = load_checkpoint(path)
    torch.set_num_threads(available_cores())
    if plain:
        network = checkpoint.build().requires_grad_(False)
    else:
        network = network_of(checkpoint, DTYPES[precision], "cpu", compiled=False)
    manifest = manifest_of_checkpoint(path, checkpoint, precision, scales)
    return TorchSession(network, manifest), network


def stage_shares(
    session: Session,
    network: RetinaNet,
    images: NDArray[np.uint8],
    image_sizes: NDArray[np.int64],
) -> Shares:
    """The shares of a session's time in trunk, heads, and candidates and NMS together.

    `network` is the one that the session runs. Shapes: images [B, H, W, 3], image_sizes [B, 2].
    """
    thresholds = session.manifest.thresholds
    runs: list[Shares] = []
    with _clock(network) as moments:
        for _ in range(WARM_UP_RUNS + RUNS):
            begin = time.perf_counter()
            session.run(images, image_sizes, thresholds.score_threshold, thresholds.iou_threshold)
            end = time.perf_counter()
            spent: Shares = {
                "trunk": moments["fpn"] - begin,
                "heads": moments["network"] - moments["fpn"],
                "candidates+nms": end - moments["network"],
            }
            runs.append(shares_of(spent))
    return {stage: statistics.mean(run[stage] for run in runs[WARM_UP_RUNS:]) for stage in runs[0]}


@contextmanager
def _clock(network: RetinaNet) -> Iterator[dict[str, float]]:
    """When the FPN and the whole network were last done."""
    moments: dict[str, float] = {}

    def note(name: str, *_: object) -> None:
        moments[name] = time.perf_counter()

    parts: dict[str, nn.Module] = {"fpn": network.fpn, "network": network}
    hooks = [part.register_forward_hook(partial(note, name)) for name, part in parts.items()]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()


def flops_of(architecture: Architecture, canvas: Canvas) -> int:
    """Floating point operations of the network for one image, a multiply-add counted as two."""
    with torch.device("meta"):
        network = RetinaNet(architecture).eval()
        image = torch.empty(1, 3, *canvas)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image)
    return counter.get_total_flops()
