"""`retinaserve import`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import get_args

from model.checkpoint import Checkpoint, save_checkpoint
from model.errors import InputError
from model.files import sha256_of
from model.heads import HeadNorm
from model.interop.class_names import read_class_names
from model.interop.detectron2 import Pretrained, read_detectron2
from model.interop.parameters import Imported
from model.interop.torchvision import read_torchvision

HELP = "turn weights of torchvision or detectron2 into a checkpoint"

SOURCES = ("torchvision_v1", "torchvision_v2", "detectron2")

SCALE = 800
"""The shorter side that all three sources train and test with."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("weights", type=Path, help="the weights file, .pth or .pkl")
    parser.add_argument(
        "--from",
        dest="source",
        choices=SOURCES,
        required=True,
        help="what it was trained with: torchvision's retinanet_resnet50_fpn (v1) or its v2 and "
        "their like with other ResNets, or detectron2's RetinaNet",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        required=True,
        metavar="FILE",
        help="names, one a line, for each class of the head; torchvision's background is its first",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="CKPT", help="the checkpoint, a new file"
    )
    parser.add_argument(
        "--norm-eps",
        type=float,
        help="eps of the backbone's batch norm (default: 1e-5, but 0 for torchvision_v1 with "
        "frozen batch norm, as torchvision has it for its COCO weights)",
    )
    parser.add_argument(
        "--pretrained",
        choices=get_args(Pretrained),
        help="detectron2 only: whose ImageNet weights the training began with, which decides the "
        "order and range of pixels and where blocks stride (default: fair for ResNeXt, else msra)",
    )
    parser.epilog = (
        "example: retinaserve import --from torchvision_v1 "
        "retinanet_resnet50_fpn_coco-eeacb38b.pth --classes coco91.txt --out coco.pt"
    )


def run(args: argparse.Namespace) -> int:
    """Imports; returns the exit code."""
    if args.out.exists():
        raise InputError(f"--out {args.out} is there already: choose another, or remove it")
    if args.pretrained and args.source != "detectron2":
        raise InputError(f"--pretrained {args.pretrained}: goes with --from detectron2 only")
    imported = _read(args)
    architecture = imported.architecture
    classes, renamed = read_class_names(args.classes, architecture.num_classes)
    checkpoint = Checkpoint(
        architecture,
        classes,
        imported.state,
        recipe={
            "name": re.sub(r"[^A-Za-z0-9._-]+", "-", args.weights.stem)[:64],
            "train": {"scale": SCALE},
            "imported": {
                "from": args.source,
                "file": args.weights.name,
                "sha256": sha256_of(args.weights),
            },
        },
        mean=imported.mean,
        std=imported.std,
    )
    save_checkpoint(args.out, checkpoint)
    notes = [*imported.notes]
    if renamed:
        notes.append(f"names that come more than once got a number: {', '.join(renamed)}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{args.out}: {architecture.backbone}, {len(classes)} classes")
    return 0


def _read(args: argparse.Namespace) -> Imported:
    if args.source == "detectron2":
        return read_detectron2(args.weights, args.pretrained, args.norm_eps)
    head_norm: HeadNorm = "none" if args.source == "torchvision_v1" else "group"
    return read_torchvision(args.weights, head_norm, args.norm_eps)
