"""`retinaserve bench`: what detection takes on this machine, stage by stage."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.manifest import Flavour, Precision
from loadtest.bench.installed import check_makers, check_matplotlib
from loadtest.bench.measure import Measured, measure
from loadtest.bench.peak import peak_gflops
from loadtest.bench.plan import Plan, plan_of
from loadtest.bench.plot import draw
from loadtest.bench.row import against_peak
from loadtest.bench.subject import Subject, needs_graphs, subject_of_bundle
from loadtest.bench.table import INCLUDED, report
from model.cores import available_cores
from model.errors import InputError
from model.files import whole_file
from model.machine import cpu_name
from service.settings import packaged_bundle

HELP = "time detection on this machine by scale, engine, precision and stage"

PAPER_SCALES = (400, 500, 600, 700, 800)

EPILOG = """
examples:
  retinaserve bench --seconds 5
  retinaserve bench --arch resnet50,resnet101 --plot table-1e.svg
  retinaserve bench --arch resnet50 --scales 480 --engines onnxruntime,torch --precision int8,fp32
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `retinaserve bench`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR|CKPT",
        default=packaged_bundle(),
        help="a bundle's folder, or a checkpoint (the bundled model)",
    )
    what.add_argument(
        "--arch",
        metavar="NAMES",
        help="backbones, such as resnet50,resnet101: RetinaNets of the paper's form with random "
        "weights, made for this run",
    )
    parser.add_argument("--classes", type=int, help="of --arch (80)")
    parser.add_argument("--scales", help="comma separated (all of the bundle's; 400 to 800)")
    parser.add_argument("--batch", default="1", help="images in a run, comma separated (1)")
    parser.add_argument(
        "--engines",
        default="onnxruntime",
        help="comma separated: onnxruntime, torch, tensorrt, eager (plain torch)",
    )
    parser.add_argument(
        "--precision", help="comma separated (all of the bundle's; fp32), side by side"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (%(default)s)")
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="measure for so long at each scale and batch (%(default)g)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT.svg", help="plot latency against scale")
    parser.epilog = f"{textwrap.fill(INCLUDED, 80)}\n{EPILOG}"


def run(args: argparse.Namespace) -> int:
    """Measures every scale and prints the tables."""
    if args.plot:
        check_matplotlib()
    plan = plan_of(args)
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="retinaserve-bench-") as folder:
        subjects = list(_subjects(plan, Path(folder)))
        threads = available_cores()
        # Before and after, since what else runs on the machine can only make it less.
        peaks = _peaks(plan, threads)
        for subject in subjects:
            measure(subject, plan, measured)
    peaks = {name: max(peak, peaks[name]) for name, peak in _peaks(plan, threads).items()}
    rows = [against_peak(row, peaks) for row in measured.rows]
    facts: dict[str, Any] = {
        "models": {subject.name: subject.manifest.version for subject in subjects},
        "batches": plan.batches,
        "images": plan.pictures_are,
        "cpu": cpu_name(),
        "threads": threads,
        "device": plan.device,
        "peak_gflop_per_s": peaks,
        "engines": measured.versions,
        "left_out": measured.left_out,
        "included": INCLUDED,
    }
    print(report(_head(facts), rows, measured.ratios))
    if args.json:
        figures = {
            **facts,
            "rows": [asdict(row) for row in rows],
            "ratios": [asdict(ratio) for ratio in measured.ratios],
        }
        with whole_file(args.json) as part:
            part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        draw(rows, args.plot)
    return 0


def _peaks(plan: Plan, threads: int) -> dict[Precision, float]:
    return peak_gflops(threads) if plan.device == "cpu" else {}


def _subjects(plan: Plan, folder: Path) -> Iterator[Subject]:
    """The models, those made for the run in `folder`; each scale is one of theirs."""
    if plan.opens_bundle:
        subject = subject_of_bundle(plan.model)
        held = subject.manifest.scales
        for scale in plan.scales or ():
            if scale not in held:
                raise InputError(
                    f"--scales {scale}: the bundle's scales are {', '.join(map(str, held))}"
                )
        yield subject
        return
    check_makers("--arch" if plan.architectures else "a checkpoint as --bundle")
    from loadtest.bench import made

    graphs = tuple(p for p in plan.precisions if p != "bf16") if needs_graphs(plan.engines) else ()
    flavour: Flavour = "cpu" if plan.device == "cpu" else "tensor"
    if not plan.architectures:
        scales = plan.scales or (made.scale_of(plan.model),)
        wanted = made.Wanted(scales, graphs, flavour)
        yield made.subject_of_checkpoint(plan.model, wanted, folder, _say)
        return
    made.check_architectures(plan.architectures)
    wanted = made.Wanted(plan.scales or PAPER_SCALES, graphs, flavour, plan.classes or 80)
    for name in plan.architectures:
        yield made.subject_of_architecture(name, wanted, folder, _say)


def _head(facts: dict[str, Any]) -> list[str]:
    models = ", ".join(f"{name} {version}" for name, version in facts["models"].items())
    batches = ", ".join(map(str, facts["batches"]))
    peaks = ", ".join(
        f"{peak:.0f} GFLOP/s in {name}" for name, peak in facts["peak_gflop_per_s"].items()
    )
    lines = [
        f"{models}, batch {batches}; {facts['images']}",
        f"{facts['cpu']}, {facts['threads']} threads" + (f", peak {peaks}" if peaks else ""),
        f"{', '.join(sorted(set(facts['engines'].values())))}, on {facts['device']}",
    ]
    return lines + [f"left out: {line}" for line in facts["left_out"]]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
