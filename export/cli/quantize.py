"""`retinaserve quantize`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from export.bundle import ExportRule, export_bundle
from export.draft import source_facts
from export.manifest import Bundle, read_bundle
from export.quantize_bundle import Quantization, QuantizeRule, quantize_bundle
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.errors import InputError
from model.files import whole_file

HELP = "give a bundle an 8-bit graph that keeps its AP, and tell what each layer loses"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("subject", type=Path, help="a bundle's folder or a checkpoint")
    parser.add_argument(
        "--calibration",
        type=Path,
        required=True,
        metavar="DIR",
        help="pictures like those to be served: they give the ranges of all values",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=64,
        metavar="N",
        help="how many of them, spread over the folder (default %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="COCO.json",
        help="labelled pictures to measure AP on (default: the calibration pictures, and the fp32 "
        "graph's own detections for labels)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="the folder of --data's pictures"
    )
    parser.add_argument(
        "--max-ap-drop",
        type=float,
        default=0.005,
        metavar="X",
        help="how much AP the result may lose against fp32 (default %(default)s)",
    )
    parser.add_argument(
        "--probe",
        type=int,
        default=32,
        metavar="N",
        help="pictures that each group of layers alone is measured on (default %(default)s)",
    )
    parser.add_argument(
        "--flavour",
        choices=["cpu", "tensor"],
        default="cpu",
        help="the graph for CPUs, or that for TensorRT and CUDA (default cpu)",
    )
    parser.add_argument(
        "--precision",
        choices=["int8", "fp8"],
        default="int8",
        help="fp8 is for --flavour tensor alone (default int8)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the new bundle's folder (default: the bundle's own)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to a file")
    parser.epilog = (
        "example: retinaserve quantize bundles/cells --calibration pictures/ "
        "--data val.json --images pictures/ --max-ap-drop 0.005"
    )


def run(args: argparse.Namespace) -> int:
    """Quantizes; returns the exit code: 1 if no choice of layers keeps the AP."""
    rule = _rule(args)
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(args, rule, Path(folder))
        rule = _with_data(args, rule, bundle)
        found = quantize_bundle(bundle, rule, args.out or args.subject, _say)
    print(_table(found))
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(found.document(), indent=2) + "\n", encoding="utf-8")
    last = found.search.steps[-1]
    if found.search.in_8_bits is None:
        _say(
            f"retinaserve quantize: not written: with all groups but one in float the AP still "
            f"drops by {last.drop:.4f}; accepted is {rule.max_ap_drop:g}"
        )
        return 1
    _say(
        f"{args.out or args.subject}: {rule.precision}, AP {last.change.ap} against "
        f"{found.reference_ap} of fp32 (labels: {found.labels})"
    )
    return 0


def _rule(args: argparse.Namespace) -> QuantizeRule:
    if (args.data is None) != (args.images is None):
        raise InputError("--data and --images go together: labels and the folder of their pictures")
    for option in ("pictures", "probe"):
        if getattr(args, option) < 1:
            raise InputError(
                f"--{option} {getattr(args, option)}: accepted are whole numbers from 1"
            )
    if not 0.0 <= args.max_ap_drop <= 1.0:
        raise InputError(f"--max-ap-drop {args.max_ap_drop}: accepted are 0 to 1")
    if args.precision == "fp8" and args.flavour == "cpu":
        raise InputError("--precision fp8: only with --flavour tensor; CPUs have no 8-bit floats")
    if args.out is None and not args.subject.is_dir():
        raise InputError(f"{args.subject} is a checkpoint: name the bundle's folder with --out")
    return QuantizeRule(
        calibration=args.calibration,
        max_ap_drop=args.max_ap_drop,
        flavour=args.flavour,
        precision=args.precision,
        pictures=args.pictures,
        probed=args.probe,
    )


def _bundle(args: argparse.Namespace, rule: QuantizeRule, folder: Path) -> Bundle:
    """The bundle named, or the fp32 graphs of the checkpoint named as one in `folder`."""
    if args.subject.is_dir():
        return read_bundle(args.subject)
    checkpoint = load_checkpoint(args.subject)
    source = source_facts(args.subject, checkpoint)
    fp32 = ExportRule(
        flavours=("cpu",) if rule.flavour == "cpu" else ("cpu", rule.flavour),
        calibration=rule.calibration,
    )
    export_bundle(checkpoint, source, folder / "bundle", fp32, _say)
    return read_bundle(folder / "bundle")


def _with_data(args: argparse.Namespace, rule: QuantizeRule, bundle: Bundle) -> QuantizeRule:
    if args.data is None:
        return rule
    data = read_coco(args.data, args.images, tuple(bundle.manifest.classes), "drop")
    if not data.coco["annotations"]:
        raise InputError(f"{args.data}: no box to compare detections with")
    return replace(rule, data=data)


def _table(found: Quantization) -> str:
    """Each group: its share of the work and the time, and what it alone in 8 bits changes."""
    in_float = found.search.steps[-1].in_float
    width = max(map(len, found.groups))
    rows = [f"{'group':<{width}}   work   time   score     box      AP  stays"]
    for group, (change, work, time) in found.groups.items():
        of_time = "-" if time is None else f"{time:.1%}"
        ap = "-" if change.ap is None else f"{change.ap:.4f}"
        rows.append(
            f"{group:<{width}}{work:7.1%}{of_time:>7}{change.score:8.5f}{change.box:8.5f}{ap:>8}  "
            f"{'float' if group in in_float else found.rule.precision}"
        )
    return "\n".join(rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
