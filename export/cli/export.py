"""`retinaserve export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.bundle import ExportRule, export_bundle, flavours_of, precisions_of
from export.draft import source_facts
from export.manifest import BundleError, read_bundle
from export.verify import VerificationError
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.errors import InputError
from model.letterbox import Canvas

HELP = "turn a checkpoint into a verified bundle"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "checkpoint", type=Path, help="a checkpoint of `retinaserve train` or `import`"
    )
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--name", help="the model's name (default: the recipe's)")
    parser.add_argument("--version", default="1", help="the model's version (default 1)")
    parser.add_argument(
        "--scales", help="shorter sides to serve, comma separated (default: the training scale)"
    )
    parser.add_argument(
        "--canvases",
        help="canvases HEIGHTxWIDTH, comma separated, sides multiples of 32 "
        "(default: wide, 4:3, square and portraits of each scale)",
    )
    parser.add_argument(
        "--default-scale", type=int, help="the scale of requests that name none (default: largest)"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32, fp16 or int8; several, comma separated, go into one bundle, "
        "the first is the one served (default fp32)",
    )
    parser.add_argument(
        "--flavour",
        default="cpu",
        help="cpu, tensor or both, comma separated: tensor is for TensorRT and CUDA (default cpu)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="pictures like those to be served; int8 needs them, verification uses them",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="COCO.json",
        help="labelled pictures to measure the AP of cpu graphs on",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="the folder of --data's pictures"
    )
    parser.epilog = (
        "example: retinaserve export runs/cells/best.pt --out bundles/cells --scales 320,480 "
        "--precision int8,fp32 --calibration pictures/"
    )


def run(args: argparse.Namespace) -> int:
    """Exports; returns the exit code."""
    checkpoint = load_checkpoint(args.checkpoint)
    if (args.data is None) != (args.images is None):
        raise InputError("--data and --images go together: labels and the folder of their pictures")
    canvases = (
        tuple(Canvas.parse(part) for part in args.canvases.split(",")) if args.canvases else ()
    )
    rule = ExportRule(
        name=args.name,
        version=args.version,
        scales=_whole_numbers(args.scales) if args.scales else (),
        canvases=canvases,
        default_scale=args.default_scale,
        precisions=tuple(precisions_of(args.precision)),
        flavours=tuple(flavours_of(args.flavour)),
        calibration=args.calibration,
        data=read_coco(args.data, args.images, checkpoint.classes, "drop") if args.data else None,
    )
    source = source_facts(args.checkpoint, checkpoint)
    before = _held(args.out)
    try:
        manifest = export_bundle(checkpoint, source, args.out, rule, _say)
    except VerificationError as error:
        _say(f"retinaserve export: not written: {error}")
        return 1
    if before is not None:
        _say(f"replaced {before} in {args.out}")
    for graph in manifest.graphs:
        parity = graph.parity
        _say(
            f"{args.out / graph.file}: {parity['detections']} detections compared, "
            f"{parity['unmatched_share']:.2%} without counterpart, worst box "
            f"{parity['worst_box_px']:.2g} px, worst score {parity['worst_score']:.2g}"
        )
        if not parity["detections"]:
            _say("warning: the model finds nothing in any picture, so nothing was compared")
    for precision, by_scale in manifest.metrics.get("export", {}).items():
        for scale, ap in by_scale.items():
            _say(f"{precision} at scale {scale}: AP {ap['AP']}, AP50 {ap['AP50']}")
    return 0


def _held(folder: Path) -> str | None:
    """What a folder's bundle is, for people; None if there is none."""
    try:
        manifest = read_bundle(folder).manifest
    except BundleError:
        return None
    files = ", ".join(graph.file for graph in manifest.graphs)
    return f"{manifest.name} {manifest.version} ({files})"


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--scales {text!r}: write whole pixels, comma separated, e.g. 320,480")
    return tuple(int(part) for part in parts)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
