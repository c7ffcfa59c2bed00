"""What is measured on a device: throughput against torchvision, stages, parity, other engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.engines.device import Device
from export.engines.parity import BOUNDS, Differences
from export.engines.registry import open_session
from export.engines.session import Detections, Session
from export.engines.torch_session import DTYPES, network_of
from export.inputs import Placed
from export.manifest import Precision, Thresholds
from export.reference import EagerModel
from export.view import ExportedView
from loadtest.bench.spread import Spread
from loadtest.bench.torch_stages import flops_of
from loadtest.gpu.clock import Pace, in_turns
from loadtest.gpu.stages import stage_times
from loadtest.gpu.theirs import torchvision_detect
from model.checkpoint import Checkpoint, load_checkpoint
from model.letterbox import Canvas, Letterbox
from model.synthetic.scene import draw_scene

DIFFERENT_SCENES = 4

Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A checkpoint's file, and what is to be run of it."""

    name: str
    path: Path
    precision: Precision
    device: Device
    compiled: bool = False

    @property
    def checkpoint(self) -> Checkpoint:
        """The weights."""
        return load_checkpoint(self.path)

    def open(self, scale: int) -> Session:
        """The torch session that would serve it."""
        return open_session(
            self.path,
            "torch",
            str(self.device),
            self.precision,
            scales=(scale,),
            compiled=self.compiled,
        )


def scenes(canvas: Canvas, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Drawn scenes that fill a canvas: images uint8 [B, H, W, 3] and their sizes [B, 2]."""
    drawn = [
        draw_scene(seed, (canvas.height, canvas.width)).image
        for seed in range(min(batch, DIFFERENT_SCENES))
    ]
    images = np.stack([drawn[index % len(drawn)] for index in range(batch)])
    return images, np.array([list(canvas)] * batch, np.int64)


def throughput(
    subject: Subject, canvas: Canvas, batch: int, peak: float, pace: Pace, *, against: bool
) -> Row:
    """Ours, and torchvision's if `against`, from images in the host's memory to detections there.

    `peak`: TFLOP/s of the device in this precision.
    """
    detect = _work(subject.open(min(canvas)), canvas, batch)
    works: dict[str, Callable[[], Sequence[Any]]] = {"ours": detect}
    checkpoint = subject.checkpoint
    if against:
        theirs = torchvision_detect(
            checkpoint, canvas, subject.device, half=subject.precision == "fp16"
        )
        works["torchvision"] = partial(theirs, scenes(canvas, batch)[0])
    times = in_turns(works, pace)
    own = Spread.of(times["ours"])
    gflop = flops_of(checkpoint.architecture, canvas) / 1e9
    row: Row = {
        "model": subject.name,
        "canvas": str(canvas),
        "batch": batch,
        "precision": subject.precision,
        "ms": asdict(own),
        "images_per_s": round(1000 * batch / own.median, 1),
        "gflop_per_image": round(gflop, 1),
        "of_peak": round(gflop * batch / own.median / (1000 * peak), 4),
        "found": sum(map(len, detect())) / batch,
    }
    if against:
        ratios = [b / a for a, b in zip(times["ours"], times["torchvision"], strict=True)]
        row["torchvision_ms"] = asdict(Spread.of(times["torchvision"]))
        row["times_as_fast"] = asdict(Spread.of(ratios))
        row["torchvision_found"] = sum(len(one["boxes"]) for one in works["torchvision"]()) / batch
    return row


def stages(subject: Subject, canvas: Canvas, batch: int, pace: Pace) -> Row:
    """The time of each stage on the device."""
    checkpoint = subject.checkpoint
    device = str(subject.device)
    network = network_of(checkpoint, DTYPES[subject.precision], device, compiled=False)
    view = ExportedView(
        network, checkpoint.mean, checkpoint.std, Thresholds(), flavour="tensor"
    ).eval()
    images, sizes = (torch.from_numpy(part).to(device) for part in scenes(canvas, batch))
    times = stage_times(view, images, sizes, subject.device, pace)
    total = times.trunk + times.heads + times.post_process
    return {
        "model": subject.name,
        "canvas": str(canvas),
        "batch": batch,
        "precision": subject.precision,
        "ms": asdict(times),
        "post_process_share": round(times.post_process / total, 4) if total else None,
    }


def parity(subject: Subject, precisions: Sequence[Precision], canvas: Canvas) -> list[Row]:
    """Detections of the session in each precision against the eager model and oracle on the CPU."""
    images, sizes = scenes(canvas, DIFFERENT_SCENES)
    model = EagerModel(subject.checkpoint)
    thresholds = Thresholds()
    places = [Placed(image, Letterbox(canvas, canvas, canvas)) for image in images]
    expected = [model.look(entry, thresholds).detections for entry in places]
    rows = []
    for precision in precisions:
        session = replace(subject, precision=precision).open(min(canvas))
        found = session.run(images, sizes, thresholds.score_threshold, thresholds.iou_threshold)
        differences = Differences(BOUNDS[precision], thresholds)
        for one, other in zip(expected, found, strict=True):
            differences.compare(one, other)
        rows.append(
            {
                "model": subject.name,
                "canvas": str(canvas),
                "precision": precision,
                **differences.report(),
                "past_its_bound": differences.beyond(),
            }
        )
    return rows


def engine(
    bundle: Path, name: str, subject: Subject, canvas: Canvas, batch: int, pace: Pace
) -> Row:
    """Another engine with a bundle of the same checkpoint."""
    session = open_session(bundle, name, str(subject.device), subject.precision)
    (times,) = in_turns({name: _work(session, canvas, batch)}, pace).values()
    own = Spread.of(times)
    return {
        "engine": session.engine,
        "model": subject.name,
        "canvas": str(canvas),
        "batch": batch,
        "precision": subject.precision,
        "ms": asdict(own),
        "images_per_s": round(1000 * batch / own.median, 1),
    }


def _work(session: Session, canvas: Canvas, batch: int) -> Callable[[], list[Detections]]:
    """A run of the session on drawn scenes."""
    images, sizes = scenes(canvas, batch)
    thresholds = session.manifest.thresholds
    return partial(session.run, images, sizes, thresholds.score_threshold, thresholds.iou_threshold)
