"""`retinaserve verify`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, get_args

from export.audit import Against, AuditRule, audit, write_results
from export.engines.registry import EngineName
from export.engines.session import SessionError
from export.graph_audit import GraphAudit
from export.manifest import MANIFEST_FILE, Precision, read_bundle
from export.verify_table import table
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.errors import InputError
from model.files import whole_file

HELP = "compare a bundle's graphs with their model, their records and each other"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument(
        "--against", type=Path, metavar="CKPT", help="the checkpoint it was exported from"
    )
    parser.add_argument(
        "--data", type=Path, metavar="COCO.json", help="labelled pictures to measure AP on"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="the folder of --data's pictures"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="pictures to compare on besides drawn ones"
    )
    parser.add_argument(
        "--engine",
        choices=get_args(EngineName),
        help="verify the bundle on this engine (default: every graph in ONNX Runtime on the CPU)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N, with --engine")
    parser.add_argument(
        "--precision", choices=get_args(Precision), help="this graph alone (default: all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.epilog = (
        "example: retinaserve verify bundles/cells --against runs/cells/best.pt --data val.json "
        "--images images/"
    )


def run(args: argparse.Namespace) -> int:
    """Verifies; returns the exit code: 0 within all bounds, 1 past one."""
    _check(args)
    bundle = read_bundle(args.bundle)
    rule = AuditRule(
        against=Against(load_checkpoint(args.against), args.against) if args.against else None,
        data=read_coco(args.data, args.images, tuple(bundle.manifest.classes), "drop")
        if args.data
        else None,
        pictures=args.pictures,
        engine=args.engine,
        device=args.device,
        precision=args.precision,
    )
    try:
        audits = audit(bundle, rule, _say)
    except SessionError as error:
        _say(f"retinaserve verify: {error} ({error.__cause__}); {MANIFEST_FILE} is as it was")
        return 1
    print("\n\n".join(table(result) for result in audits))
    if args.json:
        with whole_file(args.json) as part:
            document = {"bundle": str(args.bundle), "graphs": [_document(one) for one in audits]}
            part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for result in audits:
        if past := result.departure:
            _say(f"retinaserve verify: {result.graph.file}: {past}; {MANIFEST_FILE} is as it was")
            return 1
    write_results(bundle, audits, rule)
    return 0


def _check(args: argparse.Namespace) -> None:
    if (args.data is None) != (args.images is None):
        raise InputError("--data and --images go together: labels and the folder of their pictures")
    if args.engine is None and args.device != "cpu":
        raise InputError(f"--device {args.device} goes with --engine")
    if args.json and not args.json.parent.is_dir():
        raise InputError(f"--json {args.json}: the folder {args.json.parent} does not exist")


def _document(result: GraphAudit) -> dict[str, Any]:
    departure = result.departure
    return {
        "file": result.graph.file,
        "precision": result.graph.precision,
        "engine": result.engine,
        "passed": departure is None,
        "departs": departure.stage if departure else None,
        "figures": [
            {
                "stage": figure.stage,
                "name": figure.name,
                "value": _finite(figure.value),
                "bound": _finite(figure.bound),
                "within": figure.within,
            }
            for figure in result.figures
        ],
        "notes": result.notes,
        "report": _finite(result.report),
    }


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: as words."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _say(text: str) -> None:
    print(text, file=sys.stderr)
