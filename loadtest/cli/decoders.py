"""What decoding a JPEG takes with Pillow and with others: time, disk, what becomes of half a file.

    pip install simplejpeg opencv-python-headless
    python -m loadtest.cli.decoders --images pictures/

Each decodes the same files to RGB on one core, in turns. Whatever is not installed is left out, by
name. `resize` is Pillow's share of what the service does besides: into a canvas of 640x480.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loadtest.bench.prepared import pictures_to_time
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import add_images, run_experiment
from model.errors import InputError
from model.machine import cpu_name

RGB = NDArray[np.uint8]
Decode = Callable[[bytes], RGB]
MIN_ROUNDS = 5
TARGET = (640, 480)


def _pillow(data: bytes) -> RGB:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


def _make_simplejpeg() -> Decode:
    simplejpeg = import_module("simplejpeg")

    return partial(simplejpeg.decode_jpeg, colorspace="RGB")


def _make_turbojpeg() -> Decode:
    turbojpeg = import_module("turbojpeg")

    decoder = turbojpeg.TurboJPEG()
    return partial(decoder.decode, pixel_format=turbojpeg.TJPF_RGB)


def _make_opencv() -> Decode:
    cv2 = import_module("cv2")

    cv2.setNumThreads(1)

    def decode(data: bytes) -> RGB:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError("imdecode answered None")
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    return decode


def _make_imagecodecs() -> Decode:
    imagecodecs = import_module("imagecodecs")

    return partial(imagecodecs.jpeg8_decode, outcolorspace="RGB")


def _make_vips() -> Decode:
    pyvips = import_module("pyvips")

    return lambda data: np.asarray(pyvips.Image.new_from_buffer(data, "").numpy())


@dataclass(frozen=True)
class Contender:
    """A decoder and the distributions that it needs beside numpy."""

    packages: tuple[str, ...]
    make: Callable[[], Decode]


CONTENDERS = {
    "Pillow": Contender(("pillow", "pillow-simd"), lambda: _pillow),
    "simplejpeg": Contender(("simplejpeg",), _make_simplejpeg),
    "PyTurboJPEG": Contender(("PyTurboJPEG",), _make_turbojpeg),
    "OpenCV": Contender(("opencv-python-headless", "opencv-python"), _make_opencv),
    "imagecodecs": Contender(("imagecodecs",), _make_imagecodecs),
    "pyvips": Contender(("pyvips", "pyvips-binary", "cffi"), _make_vips),
}


@dataclass
class Row:
    """One decoder's figures."""

    name: str
    decode: Decode
    installed: str
    megabytes: float
    times_ms: list[float] = field(default_factory=list)
    cut: str = ""
    furthest: int = 0


def installed(packages: Sequence[str]) -> tuple[str, float]:
    """Names with versions, and MB on disk, of those packages that are installed."""
    names, size = [], 0
    for package in packages:
        try:
            found = distribution(package)
        except PackageNotFoundError:
            continue
        names.append(f"{package} {found.version}")
        files = (Path(str(file.locate())) for file in found.files or ())
        size += sum(file.stat().st_size for file in files if file.is_file())
    return ", ".join(names), size / 1e6


def contenders() -> tuple[list[Row], list[str]]:
    """Those that are installed and work, and a line for each that does not."""
    rows, left_out = [], []
    for name, contender in CONTENDERS.items():
        try:
            decode = contender.make()
        except (ImportError, RuntimeError, OSError) as error:
            left_out.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        rows.append(Row(name, decode, *installed(contender.packages)))
    return rows, left_out


def measure(rows: Sequence[Row], pictures: Sequence[bytes], seconds: float) -> Spread:
    """Fills the rows, all taking turns; the spread of Pillow's resizing, in ms."""
    resize_ms = []
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for data in pictures:
            expected = _pillow(data)
            for row in rows:
                start = time.perf_counter()
                pixels = row.decode(data)
                row.times_ms.append(1e3 * (time.perf_counter() - start))
                if rounds == 1:
                    apart = np.abs(pixels.astype(np.int16) - expected).max()
                    row.furthest = max(row.furthest, int(apart))
            start = time.perf_counter()
            np.asarray(Image.fromarray(expected).resize(TARGET, Image.Resampling.BILINEAR))
            resize_ms.append(1e3 * (time.perf_counter() - start))
    for row in rows:
        row.cut = _what_of_a_cut_one(row.decode, pictures[0])
    return Spread.of(resize_ms)


def _what_of_a_cut_one(decode: Decode, data: bytes) -> str:
    try:
        decode(data[: len(data) // 2])
    except Exception as error:
        return f"refused ({type(error).__name__})"
    return "decoded as if whole"


def report(rows: Sequence[Row], resize: Spread, left_out: Sequence[str]) -> None:
    """Prints the table."""
    print(f"{'decoder':12} {'ms, median (10-90 %)':>24} {'MB':>7} {'apart':>6}  half a file")
    for row in rows:
        spread = Spread.of(row.times_ms).text()
        print(
            f"{row.name:12} {spread:>24} {row.megabytes:7.1f} {row.furthest:6d}  {row.cut}"
            f"  [{row.installed}]"
        )
    print(f"{'resize':12} {resize.text():>24}")
    for line in left_out:
        print(f"left out: {line}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--seconds", type=float, default=10.0, help="(%(default)g)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    pictures, said = pictures_to_time(args.images)
    pictures = [data for data in pictures if data[:3] == b"\xff\xd8\xff"]
    if not pictures:
        raise InputError(f"{args.images}: no JPEG file there")
    rows, left_out = contenders()
    kilobytes = sum(map(len, pictures)) / len(pictures) / 1e3
    print(f"{cpu_name()}, one core; {said}, {kilobytes:.0f} KB each")
    report(rows, measure(rows, pictures, args.seconds), left_out)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
