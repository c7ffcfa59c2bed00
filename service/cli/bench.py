"""`retinaserve bench`: what the engine alone takes on this machine, stage by stage."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from export.engines.onnxruntime_session import OnnxRuntimeSession
from export.engines.session import Session
from export.manifest import Bundle, Precision, read_bundle
from model.cores import available_cores
from model.errors import InputError
from model.files import whole_file
from model.machine import cpu_name
from model.synthetic.scene import draw_scene
from service.cli.detect import LOG_INTERVAL_S, find_pictures
from service.cli.graph_profile import postprocess_share
from service.cli.timing import EngineTimes, Prepared, Spread, prepare, time_engines
from service.detections import Options
from service.settings import packaged_bundle

HELP = "time the engine alone on this machine"

DRAWN_IMAGES = 8
MAX_IMAGES = 32
MAX_BATCH = 256

INCLUDED = (
    "decode and resize: a JPEG's bytes to a filled canvas, one core. network: uint8 canvas to "
    "logits and deltas. post-process: top-k, decode and NMS in the graph (its share of the graph's "
    "time is taken from ONNX Runtime's profile) and the way back to image pixels. Not included: "
    "HTTP, queueing, JSON. Medians (10th-90th percentile) in ms per image."
)


@dataclass(frozen=True)
class Row:
    """One scale in one precision; ms per image."""

    scale: int
    canvas: str
    precision: Precision
    decode: Spread
    resize: Spread
    network: Spread
    postprocess: Spread
    total: Spread
    rounds: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `retinaserve bench`."""
    parser.add_argument(
        "--bundle", type=Path, default=packaged_bundle(), help="folder (the bundled model)"
    )
    parser.add_argument("--precision", help="one of the bundle's (all, side by side)")
    parser.add_argument("--scale", type=int, help="one of the bundle's (all of them)")
    parser.add_argument("--batch", type=int, default=1, help="images in a run (%(default)s)")
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="measure for so long at a scale (%(default)g)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.epilog = f"{textwrap.fill(INCLUDED, 80)}\n\nexample:\n  retinaserve bench --seconds 5"


def run(args: argparse.Namespace) -> int:
    """Measures every scale and prints the table."""
    if not 1 <= args.batch <= MAX_BATCH:
        raise InputError(f"--batch {args.batch}: accepted are 1 to {MAX_BATCH}")
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise InputError(f"--seconds {args.seconds:g}: accepted are positive numbers")
    bundle = read_bundle(args.bundle)
    manifest = bundle.manifest
    if args.scale is not None and args.scale not in manifest.scales:
        held = ", ".join(str(scale) for scale in manifest.scales)
        raise InputError(f"--scale {args.scale}: the bundle's scales are {held}")
    threads = available_cores()
    sessions: dict[Precision, Session] = {
        graph.precision: OnnxRuntimeSession(bundle, graph.precision, threads)
        for graph in manifest.graphs
        if args.precision is None or graph is manifest.graph_of(args.precision)
    }
    pictures, said = _pictures(args.images)
    facts: dict[str, Any] = {
        "model": {"name": manifest.name, "version": manifest.version},
        "cpu": cpu_name(),
        "threads": threads,
        "engine": ", ".join(sorted({session.engine for session in sessions.values()})),
        "batch": args.batch,
        "images": said,
        "included": INCLUDED,
    }
    rows: list[Row] = []
    ratios: list[dict[str, Any]] = []
    scales = manifest.scales if args.scale is None else (args.scale,)
    with _progress(args.seconds * len(scales)) as bar:
        for number, scale in enumerate(scales):
            show = partial(_show, bar, number * args.seconds)
            prepared = prepare(pictures, scale, manifest)
            options = replace(Options.default(manifest), scale=scale)
            times = time_engines(sessions, prepared, args.batch, options, args.seconds, show)
            rows += [
                _row(bundle, precision, scale, prepared, args.batch, threads, times[precision])
                for precision in sessions
            ]
            ratios += _ratios(scale, times)
    print(_report(facts, rows, ratios))
    if args.json:
        figures = facts | {"rows": [asdict(row) for row in rows], "ratios": ratios}
        with whole_file(args.json) as part:
            part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _progress(total_s: float) -> tqdm[Any]:
    return tqdm(
        total=total_s,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s",
        mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
    )


def _show(bar: tqdm[Any], before_s: float, spent_s: float) -> None:
    bar.n = min(bar.total, before_s + spent_s)
    bar.update(0)


def _pictures(folder: Path | None) -> tuple[list[bytes], str]:
    """Picture files' bytes and a line that says what they are."""
    if folder:
        files = [picture.path for picture in find_pictures([folder])[:MAX_IMAGES]]
        return [file.read_bytes() for file in files], f"{len(files)} of {folder}"
    scenes = []
    for seed in range(DRAWN_IMAGES):
        buffer = io.BytesIO()
        Image.fromarray(draw_scene(seed).image).save(buffer, "JPEG", quality=92)
        scenes.append(buffer.getvalue())
    return scenes, f"{DRAWN_IMAGES} drawn scenes, JPEG of 640x480"


def _row(
    bundle: Bundle,
    precision: Precision,
    scale: int,
    prepared: Prepared,
    batch: int,
    threads: int,
    times: EngineTimes,
) -> Row:
    images, places = prepared.batch(0, batch)
    graph = bundle.graph_path(bundle.manifest.graph_of(precision))
    share = postprocess_share(graph, images, np.array([p.resized for p in places]), threads)
    before = prepared.decode.median + prepared.resize.median
    both = list(zip(times.graph, times.finish, strict=True))
    return Row(
        scale,
        str(places[0].canvas),
        precision,
        prepared.decode,
        prepared.resize,
        network=Spread.of([(1.0 - share) * ran for ran in times.graph]),
        postprocess=Spread.of([share * ran + done for ran, done in both]),
        total=Spread.of([before + ran + done for ran, done in both]),
        rounds=len(both),
    )


def _ratios(scale: int, times: dict[Precision, EngineTimes]) -> list[dict[str, Any]]:
    """How many times faster the first precision's graph is than each other's, round by round."""
    first, *others = times
    return [
        {
            "scale": scale,
            "of": other,
            "to": first,
            "graph": asdict(
                Spread.of(
                    [b / a for a, b in zip(times[first].graph, times[other].graph, strict=True)]
                )
            ),
        }
        for other in others
    ]


def _report(facts: dict[str, Any], rows: Sequence[Row], ratios: Sequence[dict[str, Any]]) -> str:
    heads = ("scale", "canvas", "precision", "decode", "resize", "network", "post-process", "total")
    lines = [
        f"{facts['model']['name']} {facts['model']['version']}, {facts['engine']}, "
        f"batch {facts['batch']}, {facts['images']}",
        f"{facts['cpu']}, {facts['threads']} threads",
        "",
        "".join(f"{head:>13}" for head in heads),
    ]
    for row in rows:
        stages = (row.decode, row.resize, row.network, row.postprocess)
        cells = [row.scale, row.canvas, row.precision, *(f"{stage.median:.2f}" for stage in stages)]
        total = f"{row.total.median:.2f} ({row.total.p10:.2f}-{row.total.p90:.2f})"
        lines.append("".join(f"{cell:>13}" for cell in cells) + f"  {total:>11}")
    lines += [""] + [
        f"scale {ratio['scale']}: the {ratio['to']} graph is {ratio['graph']['median']:.2f}x as "
        f"fast as {ratio['of']} ({ratio['graph']['p10']:.2f}-{ratio['graph']['p90']:.2f})"
        for ratio in ratios
    ]
    return "\n".join([*lines, "", textwrap.fill(INCLUDED, 100)])
