"""The picture files themselves: there, whole, the right way up and of the labelled size?"""

from __future__ import annotations

import difflib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from itertools import islice
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

from model.doctor.findings import EXAMPLES, Findings
from model.doctor.labels import Labels
from model.errors import InputError
from model.pictures import PICTURE_SUFFIXES, read_picture

MOST_FILES = 100_000
"""Files of a folder among which a missing picture is looked for."""

MOST_COMPARED = 5_000
"""Names that a missing one is compared with letter by letter, which takes a second."""


@dataclass(frozen=True)
class PictureFile:
    """What a picture file is; sizes are (height, width).

    `stored`: as the pixels lie in the file; None if it can't be read. `orientation`: the EXIF tag,
    1 to 8. `fault`: why it can't be read, if it can't; `missing`: there is no such file.
    """

    stored: tuple[int, int] | None = None
    orientation: int = 1
    fault: str = ""
    missing: bool = False

    @property
    def upright(self) -> tuple[int, int] | None:
        """The size as training sees the picture: turned by its EXIF tag."""
        if self.stored is None or self.orientation < 5:
            return self.stored
        return self.stored[::-1]


def look_at(paths: Sequence[Path], decoded: Collection[int]) -> Iterator[PictureFile]:
    """What each file is, in order; those at the places `decoded` are decoded to the last pixel."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of bombs and of broken EXIF
        yield from pool.map(lambda place: _look(paths[place], place in decoded), range(len(paths)))


def check_pictures(labels: Labels, files: Sequence[PictureFile], findings: Findings) -> None:
    """Adds what is wrong with the pictures of a data set."""
    folder = labels.source.images
    names = [picture.name for picture in labels.pictures]
    listed = Counter(names)
    findings.add("picture-listed-twice", [f"{n}: {c} times" for n, c in listed.items() if c > 1])
    missing = [name for name, file in zip(names, files, strict=True) if file.missing]
    if missing:
        texts = _with_likeness(missing, folder)
        findings.add("picture-missing", texts, len(missing), folder=folder)
    for picture, file in zip(labels.pictures, files, strict=True):
        if file.missing:
            continue
        if file.fault:
            findings.add("picture-unreadable", [f"{picture.name}: {file.fault}"])
        if file.stored is not None:
            _check_size(picture.name, picture.size, file, findings)


def copies(paths: Sequence[Path]) -> list[list[int]]:
    """The places of files with the same bytes, group by group; only equal lengths are read."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(paths):
        if _is_file(path):
            of_length[path.stat().st_size].append(place)
    of_content: dict[bytes, list[int]] = defaultdict(list)
    for places in of_length.values():
        for place in places if len(places) > 1 else ():
            with suppress(OSError), paths[place].open("rb") as file:
                of_content[file_digest(file, "sha256").digest()].append(place)
    return [places for places in of_content.values() if len(places) > 1]


def _look(path: Path, decode: bool) -> PictureFile:
    if not _is_file(path):
        return PictureFile(missing=True)
    stored, orientation = None, 1
    try:
        with Image.open(path) as image:
            stored = (image.height, image.width)
            # To look for EXIF at a PNG's very end, where it hardly ever is, Pillow decodes it all.
            if decode or image.format != "PNG" or "exif" in image.info:
                tag = image.getexif().get(Base.Orientation, 1)
                orientation = tag if tag in range(1, 9) else 1
        if decode:
            read_picture(path)
    except InputError as error:
        return PictureFile(stored, orientation, str(error).removeprefix(f"{path}: "))
    except Exception as error:  # decoders of broken files raise whatever they stumble over
        reason = str(error).replace(str(path), path.name)
        fault = f"not a picture that can be decoded ({reason or type(error).__name__})"
        return PictureFile(stored, orientation, fault)
    return PictureFile(stored, orientation)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, or a folder that may not be entered
        return False


def _check_size(
    name: str, labelled: tuple[int, int] | None, file: PictureFile, findings: Findings
) -> None:
    assert file.stored is not None
    upright = file.upright
    tag = f"{name}: EXIF orientation {file.orientation}"
    if labelled is None or labelled == upright:
        if file.orientation == 1:
            return
        # Turned by a half, mirrored, or square: the size is the same either way up.
        told = labelled is not None and file.stored != upright
        findings.add("exif-turned" if told else "exif-unclear", [tag])
    elif labelled == file.stored:
        findings.add("exif-labels-unturned", [f"{tag}, labels for {_text(labelled)}"])
    else:
        assert upright is not None
        swapped = ": sides swapped" if labelled == upright[::-1] else ""
        findings.add(
            "picture-size-differs",
            [f"{name}: labels for {_text(labelled)}, the picture is {_text(upright)}{swapped}"],
        )


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _with_likeness(missing: list[str], folder: Path) -> list[str]:
    """The names, the first few with what there is instead: another case, suffix or sub-folder."""
    files = islice(folder.rglob("*"), MOST_FILES) if folder.is_dir() else ()
    there = [path.relative_to(folder).as_posix() for path in files if is_picture_name(path)]
    by_stem = {Path(name).stem.lower(): name for name in there}
    texts = []
    for name in missing[:EXAMPLES]:
        like = by_stem.get(Path(name).stem.lower())
        if like is None:
            like = next(iter(difflib.get_close_matches(name, there[:MOST_COMPARED], 1, 0.9)), None)
        texts.append(f"{name} (there is {like})" if like else name)
    return texts


def is_picture_name(path: Path) -> bool:
    """Whether the suffix is that of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES
