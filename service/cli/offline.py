"""`retinaserve detect --ray`: many pictures by Ray, into a folder of results."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from export.manifest import read_bundle
from model.errors import InputError
from service.cli.progress import progress_bar
from service.options import DetectQuery

PART_IMAGES = 250
"""Pictures in a part: about 15 s of one core, which is what a kill costs each worker."""


def configure_offline(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that go with --ray."""
    group = parser.add_argument_group(
        "many pictures, by Ray",
        "IMAGE may then be a COCO JSON or Parquet files; see docs/offline.md",
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="detect on a Ray cluster: HOST:PORT, or auto for the one that runs here "
        "(this machine alone)",
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="results; goes on where it stopped")
    group.add_argument(
        "--images", type=Path, metavar="DIR", help="where a COCO JSON's or Parquet's names start"
    )
    group.add_argument(
        "--part-images", type=int, metavar="N", help=f"pictures in a file ({PART_IMAGES})"
    )
    group.add_argument("--worker-cpus", type=int, metavar="N", help="cores of each worker (1)")


def check_offline(args: argparse.Namespace) -> None:
    """InputError for arguments that don't go together."""
    alone = {"--out": args.out, "--images": args.images, "--part-images": args.part_images,
             "--worker-cpus": args.worker_cpus}  # fmt: skip
    elsewhere = {"--url": args.url, "--json": args.json, "--draw": args.draw}
    if args.ray is None:
        if given := [name for name, value in alone.items() if value is not None]:
            raise InputError(f"{given[0]} goes with --ray")
        return
    if given := [name for name, value in elsewhere.items() if value is not None]:
        raise InputError(f"{given[0]} does not go with --ray, which writes results to --out DIR")
    if args.out is None:
        raise InputError("--ray needs --out DIR, a folder for the results")
    for name in ("--part-images", "--worker-cpus"):
        if (value := alone[name]) is not None and value < 1:
            raise InputError(f"{name} is {value}; accepted are numbers from 1")
    for package in ("ray", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"--ray needs {package}, which is not installed: "
                "pip install 'retinaserve[cpu,ray]' brings it"
            )


def run_offline(args: argparse.Namespace, query: DetectQuery) -> int:
    """Does what is left of the run in --out; returns 1 if some pictures could not be read."""
    # Only here: they need what the extra `ray` brings.
    from service.offline.on_ray import connected, done_by_ray
    from service.offline.plan import parts_of
    from service.offline.rule import Rule, facts_of, identity_of
    from service.offline.run import COCO_FILE, alone_in, begin, end, parts_left
    from service.offline.sources import read_sources

    manifest = read_bundle(args.bundle).manifest
    rule = Rule(
        folder=args.out.absolute(),
        bundle=args.bundle.absolute(),
        bundle_sha256=identity_of(args.bundle),
        query=query,
        engine=args.engine or "auto",
        device=args.device or "cpu",
        threads=args.worker_cpus or 1,
    )
    facts = facts_of(rule, manifest)
    pictures, categories = read_sources(args.pictures, args.images)
    parts = parts_of(pictures, args.part_images or PART_IMAGES)
    with alone_in(rule.folder):
        plan = begin(rule.folder, facts, parts)
        left = parts_left(rule.folder, plan)
        if left:
            before = plan.images - sum(plan.parts[number].num_rows for number in left)
            with connected(args.ray), progress_bar(plan.images, "image", before) as progress:
                for done in done_by_ray(left, rule):
                    if done["refused"]:
                        raise InputError(done["refused"])
                    progress.update(done["images"])
        outcome = end(rule.folder, plan, manifest.classes, categories)
    print(f"{outcome.images} pictures: {args.out / COCO_FILE}")
    if outcome.problems:
        print(f"{outcome.problems} of them could not be read", file=sys.stderr)
    return 1 if outcome.problems else 0
