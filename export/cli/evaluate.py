"""`retinaserve evaluate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.manifest import read_bundle
from export.measure import Found, detections_of_graph, detections_of_server
from export.verify import session_of
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.data.records import DataSet
from model.data.voc import read_voc
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.files import whole_file

HELP = "measure the AP of a checkpoint, a bundle or a running server"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("subject", help="a checkpoint file, a bundle folder or a server's URL")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="labels: a COCO JSON file, or a folder of Pascal VOC XML files",
    )
    parser.add_argument("--images", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument(
        "--scale", type=int, help="shorter side in pixels (default: the subject's own)"
    )
    parser.add_argument(
        "--precision", choices=["fp32", "fp16", "int8"], help="which graph of a bundle"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the metrics to a file")
    parser.epilog = (
        "example: retinaserve evaluate runs/cells/best.pt --data val.json --images images/"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns the exit code."""
    if args.json and not args.json.parent.is_dir():
        raise InputError(f"--json {args.json}: the folder {args.json.parent} does not exist")
    if args.subject.startswith(("http://", "https://")):
        data = _open(args, None)
        found = detections_of_server(args.subject, _bar(data), data.classes, args.scale)
        metrics = coco_metrics(data.coco, data.classes, found)
    elif Path(args.subject).is_dir():
        metrics = _evaluate_bundle(args)
    else:
        metrics = _evaluate_checkpoint(args)
    _print(metrics)
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return 0


def _evaluate_bundle(args: argparse.Namespace) -> dict[str, Any]:
    bundle = read_bundle(Path(args.subject))
    manifest = bundle.manifest
    scale = args.scale or manifest.default_scale
    if scale not in manifest.scales:
        raise InputError(f"scale {scale}: the bundle serves {', '.join(map(str, manifest.scales))}")
    graph = manifest.graph_of(args.precision)
    session = session_of(bundle.graph_path(graph).read_bytes())
    manifest.check_facts(session.get_modelmeta().custom_metadata_map, graph)
    data = _open(args, manifest.classes)
    found: Found = detections_of_graph(
        session, _bar(data), scale, manifest.canvases_by_scale[scale]
    )
    return coco_metrics(data.coco, manifest.classes, found)


def _evaluate_checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    checkpoint = load_checkpoint(Path(args.subject))
    data = _open(args, checkpoint.classes)
    scale = args.scale or checkpoint.recipe.get("train", {}).get("scale", 800)
    found = detect_records(checkpoint, _bar(data), scale)
    return coco_metrics(data.coco, checkpoint.classes, found)


def _open(args: argparse.Namespace, classes: Sequence[str] | None) -> DataSet:
    read = read_voc if args.data.is_dir() else read_coco
    return read(args.data, args.images, classes, bad_boxes="drop")


def _bar(data: DataSet) -> Any:
    return tqdm(data.records, unit="image", dynamic_ncols=True)


def _print(metrics: dict[str, Any]) -> None:
    overall = {name: value for name, value in metrics.items() if name != "classes"}
    print("  ".join(f"{name} {_text(value)}" for name, value in overall.items()))
    for label, figures in metrics["classes"].items():
        print(f"  {label}: " + "  ".join(f"{k} {_text(v)}" for k, v in figures.items()))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
