"""`retinaserve evaluate`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from tqdm import tqdm

from export.manifest import Precision, read_bundle
from export.measure import Found, Progress, Server, detections_of_graph
from export.plain_session import PlainSession
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.data.records import DataSet, Record
from model.data.voc import read_voc
from model.distributed import own_device
from model.errors import InputError
from model.evaluation.assessment import assess, in_classes_of
from model.evaluation.coco_metrics import METRICS
from model.evaluation.outcomes import ERRORS, Outcome
from model.evaluation.run import detect_records
from model.files import whole_file

HELP = "measure the AP of a checkpoint, a bundle or a running server"

PAPER_SCALE = 800
"""Of a checkpoint whose recipe says none."""

MOST_NAMES = 20
"""Classes that a sentence lists."""


class Subject(NamedTuple):
    """What is evaluated: its class names, its facts for the report, and how it detects."""

    classes: tuple[str, ...]
    facts: dict[str, str]
    detect: Callable[[list[Record], Progress], Found]


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
        "--names", type=Path, help="with VOC: a file that lists the pictures, one name a line"
    )
    parser.add_argument(
        "--scale", type=int, help="shorter side in pixels (default: the subject's own)"
    )
    parser.add_argument("--precision", choices=get_args(Precision), help="which graph of a bundle")
    parser.add_argument(
        "--device",
        default="auto",
        help="where a checkpoint runs: cpu, cuda or cuda:N (default: a GPU if there is one)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the metrics to a file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page with curves, confusions and the worst images there",
    )
    parser.add_argument(
        "--worst", type=int, default=12, help="images in the report (%(default)s)", metavar="N"
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="T",
        help="what counts as found in the error counts and the report, 0 to 1 "
        "(default: that of the best F1); AP counts every score",
    )
    parser.epilog = (
        "example: retinaserve evaluate runs/cells/best.pt --data val.json --images images/ "
        "--report report-val"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns the exit code."""
    _check(args)
    if args.report:
        # Before the work, so that a missing matplotlib is told before it.
        from model.evaluation.report import check_report_folder, write_report

        check_report_folder(args.report)
    subject = _subject(args)
    data = _open(args, subject.classes)
    with tqdm(total=len(data.records), unit="image", dynamic_ncols=True) as bar:
        found = subject.detect(data.records, bar.update)
    found = in_classes_of(data.classes, subject.classes, found)
    assessment = assess(data, found, args.score_threshold)
    document = {"subject": subject.facts, **assessment.document()}
    _print(document)
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if args.report:
        page = write_report(args.report, assessment, found, document, args.worst)
        print(f"report: {page}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.json and not args.json.parent.is_dir():
        raise InputError(f"--json {args.json}: the folder {args.json.parent} does not exist")
    if args.worst < 0:
        raise InputError(f"--worst {args.worst}: accepted are whole numbers from 0")
    if args.score_threshold is not None and not 0.0 <= args.score_threshold < 1.0:
        raise InputError(f"--score-threshold {args.score_threshold}: accepted are 0 to below 1")
    if args.names and not args.data.is_dir():
        raise InputError(f"--names goes with a folder of VOC files; {args.data} is none")
    kind = _kind_of(args.subject)
    if args.precision and kind != "bundle":
        raise InputError(f"--precision {args.precision} goes with a bundle, not with a {kind}")
    if args.device != "auto" and kind != "checkpoint":
        raise InputError(f"--device {args.device} goes with a checkpoint, not with a {kind}")


def _kind_of(subject: str) -> Literal["server", "bundle", "checkpoint"]:
    if subject.startswith(("http://", "https://")):
        return "server"
    return "bundle" if Path(subject).is_dir() else "checkpoint"


def _subject(args: argparse.Namespace) -> Subject:
    open_as = {"server": _server, "bundle": _bundle, "checkpoint": _checkpoint}
    return open_as[_kind_of(args.subject)](args)


def _server(args: argparse.Namespace) -> Subject:
    server = Server(args.subject)
    return Subject(
        server.classes,
        _facts(args, "server", args.scale or server.default_scale, model=server.name),
        lambda records, progress: server.detections(records, args.scale, progress),
    )


def _bundle(args: argparse.Namespace) -> Subject:
    bundle = read_bundle(Path(args.subject))
    manifest = bundle.manifest
    scale = args.scale or manifest.default_scale
    if scale not in manifest.scales:
        raise InputError(f"scale {scale}: the bundle serves {', '.join(map(str, manifest.scales))}")
    graph = manifest.graph_of(args.precision)
    session = PlainSession(bundle.graph_path(graph).read_bytes())
    manifest.check_facts(session.metadata, graph)
    canvases = manifest.canvases_by_scale[scale]
    return Subject(
        tuple(manifest.classes),
        _facts(args, "bundle", scale, precision=graph.precision),
        lambda records, progress: detections_of_graph(
            session, records, scale, canvases, manifest.thresholds, progress=progress
        ),
    )


def _checkpoint(args: argparse.Namespace) -> Subject:
    checkpoint = load_checkpoint(Path(args.subject))
    device = own_device(args.device)
    scale = args.scale or checkpoint.recipe.get("train", {}).get("scale", PAPER_SCALE)
    return Subject(
        checkpoint.classes,
        _facts(args, "checkpoint", scale, step=str(checkpoint.step)),
        lambda records, progress: detect_records(
            checkpoint, records, scale, device=device, progress=progress
        ),
    )


def _facts(args: argparse.Namespace, kind: str, scale: int, **more: str) -> dict[str, str]:
    return {
        "subject": args.subject,
        "kind": kind,
        **more,
        "scale": str(scale),
        "data": str(args.data),
    }


def _open(args: argparse.Namespace, classes: tuple[str, ...]) -> DataSet:
    """The data set; InputError unless it has boxes, all of classes that the subject knows."""
    if args.data.is_dir():
        data = read_voc(args.data, args.images, names=args.names, bad_boxes="drop")
    else:
        data = read_coco(args.data, args.images, bad_boxes="drop")
    for sentence in data.dropped:
        print(f"dropped: {sentence}", file=sys.stderr)
    labelled = {data.classes[index] for record in data.records for index in set(record.classes)}
    if not labelled:
        raise InputError(f"{args.data}: no box to compare detections with")
    if unknown := [name for name in data.classes if name in labelled and name not in classes]:
        raise InputError(
            f"{args.data} labels {_listed(unknown)}, which {args.subject} does not know; its "
            f"classes are {_listed(classes)}"
        )
    if absent := [name for name in classes if name not in data.classes]:
        print(f"not measured, not in the data: {_listed(absent)}", file=sys.stderr)
    return data


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return ", ".join([*names[:MOST_NAMES], *more])


def _print(document: dict[str, Any]) -> None:
    for row in (METRICS[:6], METRICS[6:]):
        print("  ".join(f"{name:<5} {_text(document[name])}" for name in row))
    figures = ("boxes", "AP", "AP50", "AR100", "threshold", "precision", "recall", "F1")
    rows = {**document["classes"], "all": {**document, **document["all"]}}
    width = max(map(len, rows))
    print("\n" + " " * width + "".join(f"{figure:>11}" for figure in figures))
    for name, row in rows.items():
        print(f"{name:<{width}}" + "".join(f"{_text(row[figure]):>11}" for figure in figures))
    errors = document["errors"].values()
    kinds = ("missed", Outcome.CORRECT, *ERRORS)
    told = ", ".join(f"{sum(row[kind] for row in errors)} {kind}" for kind in kinds)
    threshold = document["all"]["threshold"]
    print(f"\n{document['boxes']} objects; above the score {threshold:g}: {told}")


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
