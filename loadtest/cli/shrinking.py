"""What it brings, and how far boxes move, when the JPEG decoder shrinks large pictures itself.

    python -m loadtest.cli.shrinking --images pictures/ --enlarged 4

Pictures are enlarged, given a camera's noise and saved as JPEG: large photos of the same things.
Each is then brought into its canvas whole, shrunk in the decoder by 2, 4 and 8, and, to compare,
whole with its values rounded up or down at random, and with a random -1, 0 or 1 added to each.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.engines.registry import open_session
from export.engines.session import Detections, Session
from loadtest.bench.prepared import pictures_to_time
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import add_images, run_experiment
from model.machine import cpu_name
from service.detections import Options, finish
from service.pictures.images import (
    DEFAULT_MAX_PIXELS,
    JPEG_SHRINKS,
    PreparedImage,
    decode_into_canvas,
    open_header,
    read_upright,
)
from service.settings import packaged_bundle

NOISE = 3.0
"""Standard deviation of the noise, in grey levels."""

QUALITY = 92
LOST_PX = 10.0
"""A box whose nearest of its class is farther away, in canvas pixels, counts as lost."""


@dataclass(eq=False)
class Way:
    """One way into the canvas, against the whole picture's."""

    name: str
    times_ms: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    moved_px: list[float] = field(default_factory=list)
    lost: int = 0

    def line(self) -> str:
        """The figures in one line."""
        median, late = np.percentile(self.moved_px, (50, 95)) if self.moved_px else (0.0, 0.0)
        return (
            f"{self.name:10} {Spread.of(self.times_ms).text(1):>22} {np.mean(self.levels):10.2f} "
            f"{median:10.2f} {late:10.2f} {self.lost:6d}"
        )


def enlarged(data: bytes, factor: int, rng: np.random.Generator) -> bytes:
    """The JPEG of a picture made larger, with noise."""
    image = read_upright(data)
    size = (image.width * factor, image.height * factor)
    pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    pixels += rng.normal(0.0, NOISE, (size[1], size[0], 1))
    out = io.BytesIO()
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def prepare_shrunk(data: bytes, shrink: int, options: Options, session: Session) -> PreparedImage:
    """The picture in its canvas, shrunk in the decoder by 1, 2, 4 or 8."""
    with open_header(data, DEFAULT_MAX_PIXELS) as image:
        size = image.size
        if shrink > 1:
            image.draft(None, (size[0] // shrink, size[1] // shrink))
        return decode_into_canvas(image, size, options.scale, session.manifest)


def round_at_random(
    data: bytes, prepared: PreparedImage, rng: np.random.Generator
) -> PreparedImage:
    """The same picture whose values become whole grey levels by chance, in proportion.

    Of the values that the canvas should have, before they are rounded, this is as good as what
    `prepared` holds: at most one level from them, and right on the average.
    """
    height, width = prepared.place.resized
    channels = read_upright(data).split()
    values = np.stack(
        [
            np.asarray(one.convert("F").resize((width, height), Image.Resampling.BILINEAR))
            for one in channels
        ],
        axis=-1,
    )
    canvas = prepared.canvas.copy()
    canvas[:height, :width] = np.floor(values + rng.random(values.shape)).clip(0, 255)
    return prepared._replace(canvas=canvas)


def found_in(prepared: PreparedImage, options: Options, session: Session) -> Detections:
    """The detections, boxes in image pixels."""
    thresholds = options.engine_thresholds(session.manifest)
    sizes = np.array([prepared.place.resized], np.int64)
    (found,) = session.run(prepared.canvas[None], sizes, *thresholds)
    return finish(found, prepared.place, options)


def moves(one: Detections, other: Detections) -> NDArray[np.float64]:
    """How far each box's farthest side is from its nearest of the same class, in image pixels."""
    if not len(other):
        return np.full(len(one), np.inf)
    apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(axis=2).astype(np.float64)
    apart[one.classes[:, None] != other.classes[None]] = np.inf
    nearest: NDArray[np.float64] = apart.min(axis=1)
    return nearest


def measure(pictures: Sequence[bytes], options: Options, session: Session) -> list[Way]:
    """Every way's figures."""
    rng = np.random.default_rng(0)
    whole, rounded, noisy = Way("whole"), Way("rounded"), Way("+-1 level")
    shrunk = {shrink: Way(f"1/{shrink}") for shrink in reversed(JPEG_SHRINKS)}
    for data in pictures:
        reference: PreparedImage | None = None
        for shrink, way in {1: whole, **shrunk}.items():
            start = time.perf_counter()
            prepared = prepare_shrunk(data, shrink, options, session)
            way.times_ms.append(1e3 * (time.perf_counter() - start))
            if reference is None:
                reference = prepared
                expected = found_in(prepared, options, session)
            _compare(way, reference, expected, prepared, options, session)
        assert reference is not None
        step = rng.integers(-1, 2, reference.canvas.shape)
        canvas = (reference.canvas + step).clip(0, 255).astype(np.uint8)
        others = {
            rounded: round_at_random(data, reference, rng),
            noisy: reference._replace(canvas=canvas),
        }
        for way, prepared in others.items():
            way.times_ms.append(0.0)
            _compare(way, reference, expected, prepared, options, session)
    return [whole, *shrunk.values(), rounded, noisy]


def _compare(
    way: Way,
    reference: PreparedImage,
    expected: Detections,
    prepared: PreparedImage,
    options: Options,
    session: Session,
) -> None:
    way.levels.append(float(np.abs(prepared.canvas.astype(np.int16) - reference.canvas).mean()))
    factor = float(prepared.place.factors_xyxy[0])
    apart = moves(expected, found_in(prepared, options, session)) * factor
    way.moved_px += apart[apart <= LOST_PX].tolist()
    way.lost += int((apart > LOST_PX).sum())


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--bundle", type=Path, default=packaged_bundle(), help="(the bundled one)")
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--scale", type=int, help="(the bundle's default)")
    parser.add_argument("--enlarged", type=int, default=4, help="(%(default)s times)")
    parser.add_argument("--score", type=float, default=0.5, help="least score (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    session = open_session(args.bundle, precision=args.precision)
    pictures, said = pictures_to_time(args.images)
    default = Options.default(session.manifest)
    options = replace(default, score_threshold=args.score, scale=args.scale or default.scale)
    rng = np.random.default_rng(1)
    large = [enlarged(data, args.enlarged, rng) for data in pictures]
    print(
        f"{cpu_name()}; {said}, enlarged {args.enlarged} times; {args.precision}, "
        f"scale {options.scale}, scores above {args.score}"
    )
    print(
        f"{'':10} {'ms into the canvas':>22} {'levels':>10} {'px median':>10} {'95 %':>10}   lost"
    )
    for way in measure(large, options, session):
        print(way.line())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
