"""Measures a GPU in one go and writes what it found as a page and as JSON.

    python -m loadtest.gpu_bench

The torch session against torchvision's RetinaNet (where torchvision is installed), ResNeXt50 as
MLPerf runs it, each stage by the device's own timers, detections against the CPU, and the other
engines that are installed, all with the same weights. `--device cpu --quick` runs all of its code
on a machine without GPU, for nothing but to see that it works.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from export.engines.device import Device
from export.engines.session import SessionError
from export.engines.torch_session import DTYPES
from export.manifest import Flavour, Precision
from loadtest.bench.lively import lively_checkpoint
from loadtest.bench.made import Wanted, subject_of_checkpoint
from loadtest.gpu import rows
from loadtest.gpu.clock import Pace, hardware, peak_tflops
from loadtest.gpu.report import page
from loadtest.gpu.rows import Row, Subject
from loadtest.gpu.theirs import LIKE_THEIRS
from model.checkpoint import save_checkpoint
from model.errors import InputError
from model.files import whole_file
from model.letterbox import Canvas, canvases_of_scale

CLASSES = 80
OTHER_ENGINES = ("onnxruntime", "tensorrt")


@dataclass(frozen=True)
class Programme:
    """What is run; stages and other engines on the largest of `canvases`, parity on the first."""

    backbones: tuple[str, ...]
    canvases: tuple[Canvas, ...]
    batches: tuple[int, ...]
    mlperf_backbone: str
    mlperf_canvas: Canvas
    mlperf_classes: int
    mlperf_batches: tuple[int, ...]
    head_width: int
    pace: Pace


def full_programme() -> Programme:
    """The paper's depths and scales on wide canvases, and MLPerf's network."""
    return Programme(
        backbones=("resnet50", "resnet101"),
        canvases=tuple(canvases_of_scale(scale)[0] for scale in (400, 500, 600, 700, 800)),
        batches=(1, 16),
        mlperf_backbone="resnext50_32x4d",
        mlperf_canvas=Canvas(800, 800),
        mlperf_classes=264,
        mlperf_batches=(1, 8, 16, 32),
        head_width=256,
        pace=Pace(rounds=30, warm_up=5),
    )


def quick_programme() -> Programme:
    """The same at the smallest size."""
    return Programme(
        backbones=("resnet18",),
        canvases=(Canvas(64, 96),),
        batches=(1, 2),
        mlperf_backbone="resnet18",
        mlperf_canvas=Canvas(64, 64),
        mlperf_classes=5,
        mlperf_batches=(1,),
        head_width=16,
        pace=Pace(rounds=2, warm_up=1),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit code: 1 if detections departed from the CPU's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:N or cpu (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="%(default)s")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes")
    parser.add_argument("--compiled", action="store_true", help="ours with torch.compile")
    args = parser.parse_args(argv)
    try:
        device = Device.parse(args.device)
        device.check()
        programme = quick_programme() if args.quick else full_programme()
        figures = measured(programme, device, compiled=args.compiled)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    given = sys.argv[1:] if argv is None else argv
    figures["command"] = shlex.join(["python", "-m", "loadtest.gpu_bench", *given])
    facts = figures["hardware"]
    slug = re.sub(r"[^a-z0-9]+", "-", (facts.get("gpu") or facts["cpu"]).lower()).strip("-")
    name = f"{figures['date']}-{slug}"
    for suffix, text in (("json", json.dumps(figures, indent=1) + "\n"), ("md", page(figures))):
        with whole_file(args.out / f"{name}.{suffix}") as part:
            part.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{args.out / name}.{suffix}\n")
    return int(any(row["past_its_bound"] for row in figures["parity"]))


def measured(programme: Programme, device: Device, *, compiled: bool = False) -> dict[str, Any]:
    """All figures of a device; what can't be measured is a line in `not_measured`."""
    precision: Precision = "fp16" if device.kind == "cuda" else "fp32"
    pace = programme.pace
    peak = peak_tflops(device, DTYPES[precision], pace)
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(device),
        "precision": precision,
        "peak_tflop_per_s": peak,
        "against_torchvision": [],
        "mlperf": [],
        "stages": [],
        "engines": [],
        "parity": [],
        "not_measured": [],
    }
    against = importlib.util.find_spec("torchvision") is not None
    if not against:
        figures["not_measured"].append("torchvision: not installed")
    with tempfile.TemporaryDirectory() as folder:
        subject_of = partial(_subject, programme, Path(folder), precision, device, compiled)
        subjects = [subject_of(backbone, CLASSES) for backbone in programme.backbones]
        for subject in subjects:
            for canvas, batch in itertools.product(programme.canvases, programme.batches):
                _say(f"{subject.name} {canvas} batch {batch}")
                row = rows.throughput(subject, canvas, batch, peak, pace, against=against)
                figures["against_torchvision"].append(row)
            for batch in programme.batches:
                _say(f"{subject.name}, stages, batch {batch}")
                row = rows.stages(subject, programme.canvases[-1], batch, pace)
                figures["stages"].append(row)
            checked = dict.fromkeys(("fp32", precision))
            figures["parity"] += rows.parity(subject, list(checked), programme.canvases[0])
        subject = subject_of(programme.mlperf_backbone, programme.mlperf_classes)
        canvas = programme.mlperf_canvas
        for batch in programme.mlperf_batches:
            _say(f"{subject.name} {canvas} batch {batch}")
            row = rows.throughput(subject, canvas, batch, peak, pace, against=False)
            figures["mlperf"].append(row)
        for other, reason in _engines(subjects[0], programme, Path(folder)):
            figures["engines"] += [other] if other else []
            figures["not_measured"] += [reason] if reason else []
    return figures


def _engines(
    subject: Subject, programme: Programme, folder: Path
) -> Iterator[tuple[Row | None, str]]:
    """Rows of the other engines, or why there is none."""
    if importlib.util.find_spec("onnxscript") is None:
        yield None, f"{', '.join(OTHER_ENGINES)}: making their graph needs onnx and onnxscript"
        return
    canvas = programme.canvases[-1]
    flavour: Flavour = "tensor" if subject.device.kind == "cuda" else "cpu"
    wanted = Wanted((min(canvas),), (subject.precision,), flavour)
    made = subject_of_checkpoint(subject.path, wanted, folder, _say)
    for name, batch in itertools.product(OTHER_ENGINES, programme.batches):
        _say(f"{name}, batch {batch}")
        try:
            yield rows.engine(made.bundle, name, subject, canvas, batch, programme.pace), ""
        except (InputError, SessionError) as error:
            yield None, f"{name}, batch {batch}: {error}"


def _subject(
    programme: Programme,
    folder: Path,
    precision: Precision,
    device: Device,
    compiled: bool,
    backbone: str,
    num_classes: int,
) -> Subject:
    """A new checkpoint of the form that torchvision's has."""
    name = f"{backbone}-{num_classes}"
    checkpoint = lively_checkpoint(
        backbone,
        num_classes,
        programme.canvases[0],
        head_width=programme.head_width,
        **LIKE_THEIRS,
    )
    path = folder / f"{name}.pt"
    save_checkpoint(path, replace(checkpoint, recipe={**checkpoint.recipe, "name": name}))
    return Subject(backbone, path, precision, device, compiled)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
