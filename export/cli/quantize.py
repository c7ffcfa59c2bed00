"""`retinaserve quantize`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export.audit import Against
from export.bundle import ExportRule, export_bundle
from export.draft import source_facts
from export.folder import check_replaceable
from export.manifest import Bundle, read_bundle
from export.quantize_bundle import QuantizeRule, quantize_bundle
from export.quantize_table import table
from export.verify import VerificationError
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
        help="the new bundle's folder (default: the bundle's own; of best.pt, best-int8)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to a file")
    parser.epilog = (
        "example: retinaserve quantize bundles/cells --calibration pictures/ "
        "--data val.json --images pictures/ --max-ap-drop 0.005"
    )


def run(args: argparse.Namespace) -> int:
    """Quantizes; returns the exit code: 1 if no choice of layers keeps the AP."""
    rule = _rule(args)
    out = args.out or _own_folder(args)
    with tempfile.TemporaryDirectory() as folder:
        try:
            if args.subject.is_dir():
                bundle = read_bundle(args.subject)
                rule = _with_data(args, rule, bundle.manifest.classes)
            else:
                against = Against(load_checkpoint(args.subject), args.subject)
                rule = _with_data(args, replace(rule, against=against), against.checkpoint.classes)
                check_replaceable(out)
                bundle = _exported(against, rule, Path(folder) / "bundle")
            found = quantize_bundle(bundle, rule, out, _say)
        except VerificationError as error:
            _say(f"retinaserve quantize: not written: {error}")
            return 1
    print(table(found))
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(found.document(), indent=2) + "\n", encoding="utf-8")
    if found.search.in_8_bits is None:
        _say("retinaserve quantize: not written: no choice of groups keeps the AP")
        return 1
    _say(f"written to {out}")
    return 0


def _own_folder(args: argparse.Namespace) -> Path:
    """Where the result goes by default: a bundle's own folder, or one beside a checkpoint."""
    subject: Path = args.subject
    if subject.is_dir():
        return subject
    return subject.with_name(f"{subject.stem}-{args.precision}")


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
    if args.json and not args.json.parent.is_dir():
        raise InputError(f"--json {args.json}: the folder {args.json.parent} does not exist")
    return QuantizeRule(
        calibration=args.calibration,
        max_ap_drop=args.max_ap_drop,
        flavour=args.flavour,
        precision=args.precision,
        pictures=args.pictures,
        probed=args.probe,
    )


def _exported(against: Against, rule: QuantizeRule, folder: Path) -> Bundle:
    """A bundle of a checkpoint with the fp32 graphs that quantizing needs."""
    source = source_facts(against.path, against.checkpoint)
    fp32 = ExportRule(
        flavours=("cpu",) if rule.flavour == "cpu" else ("cpu", rule.flavour),
        calibration=rule.calibration,
    )
    export_bundle(against.checkpoint, source, folder, fp32, _say)
    return read_bundle(folder)


def _with_data(
    args: argparse.Namespace, rule: QuantizeRule, classes: Sequence[str]
) -> QuantizeRule:
    if args.data is None:
        return rule
    data = read_coco(args.data, args.images, tuple(classes), "drop")
    if not data.coco["annotations"]:
        raise InputError(f"{args.data}: no box to compare detections with")
    return replace(rule, data=data)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
