"""`retinaserve build`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import get_args

from export.engines.device import Device
from export.engines.tensorrt_api import Log, TensorRT, load_tensorrt, log_of
from export.engines.tensorrt_cuda import open_cuda
from export.engines.tensorrt_plans import (
    BuildRule,
    Environment,
    Plan,
    PlanFacts,
    facts_sha256,
    plan_folder,
    plans_in,
    timing_cache,
    write_plan,
)
from export.manifest import Bundle, Graph, Precision, read_bundle
from export.tensorrt_graph import PreparedGraph, prepared
from export.to_tensorrt import build_plan, refit_plan
from model.errors import InputError
from model.files import alone, whole_file
from model.letterbox import Canvas

HELP = "build a bundle's TensorRT plan for the GPU of this machine"

MAX_BATCH = 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="which graph of the bundle (default: the first for accelerators)",
    )
    parser.add_argument(
        "--max-batch",
        type=int,
        default=8,
        metavar="N",
        help="the largest batch that the plan takes (default %(default)s)",
    )
    parser.add_argument("--device", default="cuda:0", help="which GPU (default %(default)s)")
    parser.add_argument(
        "--refit",
        action="store_true",
        help="make the plan able to take new weights, and give them to an earlier such plan of the "
        "same architecture, in seconds, instead of building",
    )
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="make the plan load in later TensorRTs of the same major version too",
    )
    parser.add_argument(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="kernels' measured times (default: one file per GPU and version beside the plan)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where plans are kept (default: RETINASERVE_PLANS, else the user's cache)",
    )
    parser.epilog = "example: retinaserve build bundles/cells --precision fp16 --max-batch 16"


def run(args: argparse.Namespace) -> int:
    """Builds, refits or finds the plan; returns the exit code."""
    if not 1 <= args.max_batch <= MAX_BATCH:
        raise InputError(f"--max-batch {args.max_batch}: accepted are 1 to {MAX_BATCH}")
    device = Device.parse(args.device)
    bundle = read_bundle(args.bundle)
    graph = bundle.manifest.graph_of(args.precision, "tensor")
    content = prepared(bundle.graph_path(graph).read_bytes())
    bundle.manifest.check_facts(content.metadata, graph)
    trt = load_tensorrt()
    gpu = open_cuda(device).gpu(device.index)
    facts = _facts(bundle, graph, content, Environment.here(trt.__version__, gpu), args)
    folder = args.out or plan_folder()
    if _is_there(folder, facts):
        return 0
    # Others may share the folder, and start on such a GPU at the same moment.
    with alone(folder / f"{facts.name}.lock", lambda: _say("another process builds this plan")):
        if not _is_there(folder, facts):
            _make(trt, folder, facts, content, args)
    return 0


def _is_there(folder: Path, facts: PlanFacts) -> bool:
    """Whether the plan that would be built is there, which is then said."""
    plan = _held(folder, facts)
    if plan is None:
        return False
    _say(f"{plan.path}: was built already")
    return True


def _make(
    trt: TensorRT, folder: Path, facts: PlanFacts, content: PreparedGraph, args: argparse.Namespace
) -> None:
    """Refits or builds the plan, and says what was done."""
    started = time.monotonic()
    log = log_of(trt)
    made = _refitted(trt, log, folder, facts, content) if args.refit else None
    done = "refitted"
    if made is None:
        done = "built"
        cache = args.timing_cache or timing_cache(folder, facts.environment)
        made = _built(trt, log, facts, content, cache)
    plan = write_plan(folder, facts, made)
    _say(
        f"{plan.path}: {done} for {facts.environment.gpu} by TensorRT {trt.__version__} "
        f"in {time.monotonic() - started:.0f} s, {len(made) / 1e6:.0f} MB"
    )


def _facts(
    bundle: Bundle,
    graph: Graph,
    content: PreparedGraph,
    here: Environment,
    args: argparse.Namespace,
) -> PlanFacts:
    manifest = bundle.manifest
    canvases = [text for scale in manifest.scales for text in manifest.canvases[scale]]
    return PlanFacts(
        file=graph.file,
        graph_sha256=graph.sha256,
        facts_sha256=facts_sha256(manifest, graph),
        precision=graph.precision,
        environment=here,
        rule=BuildRule(
            max_batch=args.max_batch,
            refit=args.refit,
            version_compatible=args.version_compatible,
        ),
        canvases=list(dict.fromkeys(canvases)),
        skeleton=content.skeleton if args.refit else "",
        weights=content.weights if args.refit else {},
    )


def _held(folder: Path, facts: PlanFacts) -> Plan | None:
    """The plan that would be built, if it is there and whole."""
    for plan in plans_in(folder):
        if plan.facts == facts and plan.is_whole():
            return plan
    return None


def _refitted(
    trt: TensorRT, log: Log, folder: Path, facts: PlanFacts, content: PreparedGraph
) -> bytes | None:
    """An earlier plan with these weights; None if none can take them."""
    for plan in plans_in(folder):
        old = plan.facts
        alike = (old.skeleton, old.environment, old.rule, old.canvases)
        if alike != (facts.skeleton, facts.environment, facts.rule, facts.canvases):
            continue
        if not plan.is_whole():
            continue
        changed = [name for name, sha in content.weights.items() if old.weights.get(name) != sha]
        made = refit_plan(trt, log, plan.read(), content.content, changed)
        if made is not None:
            return made
        _say(f"{plan.path}: can't take the new weights; building anew")
    return None


def _built(trt: TensorRT, log: Log, facts: PlanFacts, content: PreparedGraph, cache: Path) -> bytes:
    _say(f"building {facts.file} for {facts.environment.gpu}: this takes minutes")
    timings = cache.read_bytes() if cache.is_file() else b""
    canvases = [Canvas.parse(text) for text in facts.canvases]
    made, measured = build_plan(trt, log, content.content, canvases, facts.rule, timings)
    if measured:
        with whole_file(cache, f"{facts.key}-") as part:  # plans of one GPU share the file
            part.write_bytes(measured)
    return made


def _say(text: str) -> None:
    print(text, file=sys.stderr)
