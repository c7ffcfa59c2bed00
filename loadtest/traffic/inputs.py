"""The pictures that a load test sends: a folder's, labelled ones, or drawn scenes."""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from loadtest.protocols.protocol import KEPT, Picture
from loadtest.speed.mix import SIZES
from model.data.coco import read_coco
from model.data.records import DataSet, Record
from model.data.voc import read_voc
from model.errors import InputError
from model.synthetic.scene import draw_scene
from service.cli.detect import find_pictures
from service.errors import Problem
from service.pictures.images import read_upright

T = TypeVar("T")

DRAWN_OF_A_SIZE = 2
DRAWN_QUALITY = 92


@dataclass(frozen=True)
class Inputs:
    """`pictures` that the load takes turns with, `text` that says what they are, and the labelled
    set that they are of, if there is one.
    """

    pictures: Sequence[Picture]
    text: str
    data: DataSet | None = None


def add_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds what says which pictures are sent."""
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="a folder of pictures (default: drawn scenes)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="LABELS",
        help="labels of --images, for AP: a COCO JSON file, or a folder of Pascal VOC XML files",
    )
    parser.add_argument(
        "--most-pictures",
        type=int,
        default=KEPT,
        metavar="N",
        help="of these the load takes turns with so many, drawn by lot (%(default)s)",
    )


def inputs_of(args: argparse.Namespace, seed: int = 0) -> Inputs:
    """The pictures that a command line asks for; InputError says what is wrong with them."""
    if args.most_pictures < 1:
        raise InputError(f"--most-pictures {args.most_pictures}: accepted are numbers from 1")
    if args.data:
        if not args.images:
            raise InputError("--data needs --images DIR: the folder of the labelled pictures")
        return labelled(args.data, args.images, args.most_pictures, seed)
    if args.images:
        return of_folder(args.images, args.most_pictures, seed)
    return drawn()


def of_folder(folder: Path, most: int = KEPT, seed: int = 0) -> Inputs:
    """The pictures of a folder, or `most` of them drawn by lot."""
    files = [picture.path for picture in find_pictures([folder])]
    pictures = [_read(file) for file in _by_lot(files, most, seed)]
    return Inputs(pictures, _text(f"{len(pictures)} of {len(files)} in {folder}", pictures))


def labelled(labels: Path, folder: Path, most: int = KEPT, seed: int = 0) -> Inputs:
    """The pictures of a COCO JSON file or a folder of VOC files, or `most` of them drawn by lot.

    Boxes without area are left out, as by `retinaserve evaluate`.
    """
    read = read_voc if labels.is_dir() else read_coco
    data = read(labels, folder, bad_boxes="drop")
    if not any(len(record.classes) for record in data.records):
        raise InputError(f"{labels}: no box to compare detections with")
    pictures = [picture_of(record) for record in _by_lot(data.records, most, seed)]
    count = f"{len(pictures)} of {len(data.records)} of {labels}"
    return Inputs(pictures, _text(count, pictures), data)


def drawn() -> Inputs:
    """Blood smears as JPEG files of many sizes, as callers have them: small, large, wide, high."""
    pictures = []
    for seed in range(DRAWN_OF_A_SIZE):
        for size in SIZES:
            out = io.BytesIO()
            Image.fromarray(draw_scene(seed, size).image).save(out, "JPEG", quality=DRAWN_QUALITY)
            name = f"drawn_{size[1]}x{size[0]}_{seed}.jpg"
            pictures.append(Picture(out.getvalue(), name, size))
    return Inputs(pictures, _text(f"{len(pictures)} drawn scenes", pictures))


def picture_of(record: Record) -> Picture:
    """The picture of a record; InputError unless it is of the size that its labels say."""
    picture = _read(record.source)
    if picture.size != record.size:
        (height, width), (rows, columns) = picture.size, record.size
        raise InputError(
            f"{record.source}: the upright picture is {width}x{height}, its labels are for "
            f"{columns}x{rows}"
        )
    return picture._replace(image_id=record.image_id)


def _read(file: Path) -> Picture:
    """A picture file, which has to decode: otherwise it is the refusals that are measured."""
    try:
        data = file.read_bytes()
        image = read_upright(data)
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror})") from None
    except Problem as problem:
        raise InputError(f"{file}: {problem.detail}; take it out of the folder") from None
    return Picture(data, file.name, (image.height, image.width))


def _by_lot(things: Sequence[T], most: int, seed: int) -> list[T]:
    if len(things) <= most:
        return list(things)
    return random.Random(seed).sample(things, most)


def _text(count: str, pictures: Sequence[Picture]) -> str:
    """How many, and between what sizes."""
    by_pixels = sorted(pictures, key=lambda picture: picture.size[0] * picture.size[1])
    (height, width), (most_height, most_width) = by_pixels[0].size, by_pixels[-1].size
    kb = sorted(len(picture.data) / 1e3 for picture in pictures)
    return (
        f"{count}: {width}x{height} to {most_width}x{most_height} pixels, {kb[0]:.0f} to "
        f"{kb[-1]:.0f} kB"
    )
