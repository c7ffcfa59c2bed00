"""`retinaserve detect`: the objects in picture files, found here or by a running server."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError
from tqdm import tqdm

from export.engines.session import Detections
from model.errors import InputError
from model.files import whole_file
from model.pictures import PICTURE_SUFFIXES
from service.accepted import fault_of
from service.cli.finder import Finder, LocalFinder, RemoteFinder, read_file
from service.cli.offline import check_offline, configure_offline, run_offline
from service.cli.progress import progress_bar
from service.errors import Problem
from service.options import DetectQuery
from service.pictures.drawing import draw_detections
from service.pictures.images import read_upright
from service.settings import packaged_bundle

HELP = "find the objects in pictures and folders"

DRAWN_QUALITY = 92


class Picture(NamedTuple):
    """A file to look at, and where its drawn copy goes under the folder of --draw."""

    path: Path
    drawn: Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `retinaserve detect`."""
    parser.add_argument(
        "pictures", nargs="+", type=Path, metavar="IMAGE|DIR", help="folders are searched through"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--bundle",
        type=Path,
        default=packaged_bundle(),
        help="detect here, by this bundle or checkpoint (the bundled model)",
    )
    where.add_argument("--url", help="detect by a running server, such as http://127.0.0.1:8000")
    parser.add_argument("--engine", help="auto, onnxruntime, tensorrt or torch (auto)")
    parser.add_argument("--device", help="cpu, or cuda:N for a GPU (cpu)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the answers to this file")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="write pictures with boxes there")
    parser.add_argument("--score-threshold", type=float, help="keep what scores more, 0 to 1")
    parser.add_argument("--iou-threshold", type=float, help="overlap that suppresses, 0 to 1")
    parser.add_argument("--max-detections", type=int, help="objects in a picture at most")
    parser.add_argument("--scale", type=int, help="one of the bundle's scales; any of a checkpoint")
    configure_offline(parser)
    parser.epilog = (
        "A picture that can't be read is named, the others go on, and the exit code is 1.\n"
        "The answers are those of POST /v1/detect, each with `file`.\n\n"
        "examples:\n"
        "  retinaserve detect example/scene.jpg --draw example/boxes\n"
        "  retinaserve detect pictures/ --url http://127.0.0.1:8000 --json found.json\n"
        "  retinaserve detect pictures/ --ray --out found"
    )


def run(args: argparse.Namespace) -> int:
    """Detects on every picture; returns 1 if some could not be read."""
    check_offline(args)
    if args.ray:
        return run_offline(args, _query(args))
    pictures = find_pictures(args.pictures)
    if args.draw:
        _check_targets(pictures, args.draw)
    query = _query(args)
    finder = _finder(args, query)
    # Opened first: a place that can't be written to is told before the work, not after it.
    with (
        whole_file(args.json) if args.json else nullcontext() as part,
        warnings.catch_warnings(),
    ):
        # What Pillow has to say about odd metadata is of no use to whoever asked for boxes.
        warnings.filterwarnings("ignore", module="PIL")
        answers = list(_detected(finder, pictures, args))
        if part:
            part.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    failed = sum("problem" in answer for answer in answers)
    if failed:
        print(f"{failed} of {len(answers)} pictures could not be read", file=sys.stderr)
    return 1 if failed else 0


def find_pictures(given: Sequence[Path]) -> list[Picture]:
    """The pictures of the files and folders given, in that order, folders by name.

    Raises InputError for a path that does not exist and a folder without pictures.
    """
    pictures: dict[Path, Path] = {}
    for path in given:
        if not path.exists():
            raise InputError(f"{path}: no such picture or folder")
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _looks_like_picture(file))
            if not files:
                raise InputError(
                    f"{path}: no picture in this folder; looked for {', '.join(PICTURE_SUFFIXES)}"
                )
        top = path if path.is_dir() else path.parent
        pictures |= {file: _drawn_name(file.relative_to(top)) for file in files}
    return [Picture(path, drawn) for path, drawn in pictures.items()]


def _detected(
    finder: Finder, pictures: Sequence[Picture], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    with progress_bar(len(pictures), "image") as progress:
        for picture in pictures:
            yield _detect(finder, picture, args)
            progress.update()


def _detect(finder: Finder, picture: Picture, args: argparse.Namespace) -> dict[str, Any]:
    """The answer for one picture, drawn or printed as asked; a problem is printed at once."""
    file = str(picture.path)
    try:
        data = read_file(picture.path)
        answer = finder(data)
        if args.draw:
            _draw(data, answer, args.draw / picture.drawn)
    except Problem as problem:
        tqdm.write(f"{file}: {problem.detail}", file=sys.stderr)
        return {"file": file, "problem": {"code": problem.code, "detail": problem.detail}}
    if not args.json and not args.draw:
        tqdm.write(f"{file}: {summary(answer)}")
    return {"file": file, **answer}


def summary(answer: dict[str, Any]) -> str:
    """What was found in a picture, in a line: 2 objects: RBC 1, WBC 1 (34 ms)."""
    labels = Counter(found["label"] for found in answer["detections"])
    listed = ", ".join(f"{label} {count}" for label, count in sorted(labels.items()))
    total_ms = sum(answer["timings_ms"].values())
    objects = "1 object" if labels.total() == 1 else f"{labels.total()} objects"
    return f"{objects}{': ' if listed else ''}{listed} ({total_ms:.0f} ms)"


def _looks_like_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _drawn_name(name: Path) -> Path:
    """The name itself where it says a picture type to write, else one that does."""
    return name if name.suffix.lower() in PICTURE_SUFFIXES else name.with_name(name.name + ".png")


def _finder(args: argparse.Namespace, query: DetectQuery) -> Finder:
    if not args.url:
        return LocalFinder(
            args.bundle, query, engine=args.engine or "auto", device=args.device or "cpu"
        )
    if args.engine or args.device:
        raise InputError("--engine and --device choose what runs here; a --url has its own engine")
    return RemoteFinder(args.url, query)


def _query(args: argparse.Namespace) -> DetectQuery:
    names = ("score_threshold", "iou_threshold", "max_detections", "scale")
    try:
        return DetectQuery(**{name: getattr(args, name) for name in names})
    except ValidationError as error:
        fault = fault_of(error, DetectQuery)
        option = f"--{fault.name.replace('_', '-')}"
        raise InputError(f"{option} {fault.found}: {fault.accepted}") from None


def _draw(data: bytes, answer: dict[str, Any], target: Path) -> None:
    rows = answer["detections"]
    found = Detections(
        np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
        np.array([row["score"] for row in rows], np.float32),
        np.array([row["class_index"] for row in rows], np.int64),
    )
    labels = {row["class_index"]: row["label"] for row in rows}
    by_index = [labels.get(index, "") for index in range(max(labels, default=-1) + 1)]
    drawn = draw_detections(read_upright(data), found, by_index)
    with whole_file(target) as part:
        drawn.save(part, quality=DRAWN_QUALITY)


def _check_targets(pictures: Sequence[Picture], folder: Path) -> None:
    sources = {picture.path.resolve() for picture in pictures}
    targets = Counter((folder / picture.drawn).resolve() for picture in pictures)
    for target, count in targets.items():
        if target in sources:
            raise InputError(f"--draw {folder} would overwrite {target}: give another folder")
        if count > 1:
            raise InputError(f"--draw {folder}: several pictures would become {target}")
