"""`retinaserve bench`: what detection takes on this machine, stage by stage."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from export.manifest import Flavour, Precision
from loadtest.bench import worker
from loadtest.bench.peak import peak_gflops
from loadtest.bench.plot import check_matplotlib, draw
from loadtest.bench.prepared import Prepared, pictures_to_time, prepare
from loadtest.bench.subject import (
    Subject,
    check_engines,
    check_makers,
    needs_graphs,
    subject_of_bundle,
)
from loadtest.bench.table import INCLUDED, Facts, Row, ratios_of, report, row_of
from loadtest.bench.turns import Engine, opened, take_turns
from model.cores import available_cores
from model.errors import InputError
from model.files import whole_file
from model.machine import cpu_name
from service.cli.detect import LOG_INTERVAL_S
from service.detections import Options
from service.settings import packaged_bundle

HELP = "time detection on this machine by scale, engine, precision and stage"

PAPER_SCALES = (400, 500, 600, 700, 800)
MAX_BATCH = 256

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


@dataclass(frozen=True)
class Plan:
    """The arguments, checked."""

    scales: tuple[int, ...] | None
    batches: tuple[int, ...]
    engines: tuple[str, ...]
    precisions: tuple[Precision, ...]
    device: str
    seconds: float
    pictures: list[bytes]


@dataclass
class Measured:
    """What has been measured so far."""

    rows: list[Row] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def run(args: argparse.Namespace) -> int:
    """Measures every scale and prints the tables."""
    if args.plot:
        check_matplotlib()
    plan, said = _plan(args)
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="retinaserve-bench-") as folder:
        subjects = list(_subjects(args, plan, Path(folder)))
        peak = peak_gflops() if plan.device == "cpu" else None
        for subject in subjects:
            _measure(subject, plan, peak, measured)
    facts: dict[str, Any] = {
        "models": {subject.name: subject.manifest.version for subject in subjects},
        "batches": plan.batches,
        "cpu": cpu_name(),
        "threads": available_cores(),
        "device": plan.device,
        "engines": measured.versions,
        "peak_gflop_per_s": None if peak is None else round(peak, 1),
        "images": said,
        "left_out": measured.left_out,
        "included": INCLUDED,
    }
    print(report(_head(facts), measured.rows, measured.ratios))
    if args.json:
        ratios = [{**ratio, "graph": asdict(ratio["graph"])} for ratio in measured.ratios]
        figures = facts | {"rows": [asdict(row) for row in measured.rows], "ratios": ratios}
        with whole_file(args.json) as part:
            part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        draw(measured.rows, args.plot)
    return 0


def _plan(args: argparse.Namespace) -> tuple[Plan, str]:
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise InputError(f"--seconds {args.seconds:g}: accepted are positive numbers")
    if args.classes is not None and (args.arch is None or args.classes < 1):
        raise InputError(f"--classes {args.classes}: accepted are numbers from 1, with --arch")
    batches = _numbers("--batch", args.batch)
    for batch in batches:
        if not 1 <= batch <= MAX_BATCH:
            raise InputError(f"--batch {batch}: accepted are 1 to {MAX_BATCH}")
    engines = _names(args.engines)
    check_engines(engines, args.device)
    known = get_args(Precision)
    made_now = args.arch is not None or args.bundle.is_file()
    precisions = _names(args.precision or ("fp32" if made_now else ""))
    for name in precisions:
        if name not in known:
            raise InputError(f"--precision {name}: accepted are {', '.join(known)}")
    pictures, said = pictures_to_time(args.images)
    plan = Plan(
        scales=_numbers("--scales", args.scales) if args.scales else None,
        batches=batches,
        engines=engines,
        precisions=tuple(p for name in precisions for p in known if p == name),
        device=args.device,
        seconds=args.seconds,
        pictures=pictures,
    )
    return plan, said


def _subjects(args: argparse.Namespace, plan: Plan, folder: Path) -> Iterator[Subject]:
    """The models, those made for the run in `folder`; each scale is one of theirs."""
    if args.arch is None and not args.bundle.is_file():
        subject = subject_of_bundle(args.bundle)
        held = subject.manifest.scales
        for scale in plan.scales or ():
            if scale not in held:
                raise InputError(
                    f"--scales {scale}: the bundle's scales are {', '.join(map(str, held))}"
                )
        yield subject
        return
    check_makers("--arch" if args.arch else "a checkpoint as --bundle")
    from loadtest.bench import made

    graphs = tuple(p for p in plan.precisions if p != "bf16") if needs_graphs(plan.engines) else ()
    flavour: Flavour = "cpu" if plan.device == "cpu" else "tensor"
    if args.arch is None:
        scales = plan.scales or (made.scale_of(args.bundle),)
        wanted = made.Wanted(scales, graphs, flavour)
        yield made.subject_of_checkpoint(args.bundle, wanted, folder, _say)
        return
    names = _names(args.arch)
    made.check_architectures(names)
    wanted = made.Wanted(plan.scales or PAPER_SCALES, graphs, flavour, args.classes or 80)
    for name in names:
        yield made.subject_of_architecture(name, wanted, folder, _say)


def _measure(subject: Subject, plan: Plan, peak: float | None, measured: Measured) -> None:
    contenders, left_out = subject.contenders(plan.engines, plan.precisions, plan.device)
    measured.left_out += [line for line in left_out if line not in measured.left_out]
    scales = plan.scales or subject.manifest.scales
    settings = [(scale, batch) for scale in sorted(scales) for batch in sorted(plan.batches)]
    with (
        _progress(subject.name, plan.seconds * len(settings)) as bar,
        opened(contenders, tuple(sorted(scales))) as engines,
    ):
        measured.versions |= {str(engine.contender): engine.version for engine in engines}
        for number, (scale, batch) in enumerate(settings):
            prepared = prepare(plan.pictures, scale, subject.manifest)
            options = replace(Options.default(subject.manifest), scale=scale)
            show = partial(_show, bar, number * plan.seconds)
            times = take_turns(engines, prepared, batch, options, plan.seconds, show)
            facts = _facts(engines, prepared)
            measured.rows += [
                row_of(subject, engine.contender, prepared, scale, batch, own, told, peak)
                for engine, own, told in zip(engines, times, facts, strict=True)
            ]
            names = [str(engine.contender) for engine in engines]
            measured.ratios += ratios_of(scale, batch, subject.name, names, times)


def _facts(engines: Sequence[Engine], prepared: Prepared) -> list[Facts]:
    """Memory first: to look for stages and operations takes some of its own."""
    memories = [engine.ask(worker.memory_mb) for engine in engines]
    shares = [engine.ask(worker.stage_shares) for engine in engines]
    # An image's operations are the model's: whoever can tell them tells for all.
    told = (engine.ask(worker.flops) for engine in engines)
    flops = next((count for count in told if count is not None), None)
    return [Facts(share, flops, memory) for share, memory in zip(shares, memories, strict=True)]


def _head(facts: dict[str, Any]) -> list[str]:
    versions = sorted(set(facts["engines"].values()))
    peak = facts["peak_gflop_per_s"]
    batches = ", ".join(map(str, facts["batches"]))
    lines = [
        f"{', '.join(f'{name} {version}' for name, version in facts['models'].items())}, "
        f"batch {batches}; {facts['images']}",
        f"{facts['cpu']}, {facts['threads']} threads"
        + ("" if peak is None else f", peak {peak:.0f} GFLOP/s in float32"),
        f"{', '.join(versions)}, on {facts['device']}",
    ]
    return lines + [f"left out: {line}" for line in facts["left_out"]]


def _progress(name: str, total_s: float) -> tqdm[Any]:
    return tqdm(
        total=total_s,
        desc=name,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s",
        mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
    )


def _show(bar: tqdm[Any], before_s: float, spent_s: float) -> None:
    bar.n = min(bar.total, before_s + spent_s)
    bar.update(0)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = _names(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"{option} {text!r}: write whole numbers, comma separated")
    return tuple(int(part) for part in parts)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
