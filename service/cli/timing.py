"""Times of the stages of one image on this machine: decode, resize, the graph, the finish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.engines.session import Session
from export.manifest import Manifest, Precision
from model.letterbox import Letterbox, fill_canvas, letterbox
from service.detections import Options, finish
from service.images import read_upright

MIN_ROUNDS = 5
WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Spread:
    """Median and the middle 80 % of some values."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one or more values."""
        p10, median, p90 = np.percentile(values, (10, 50, 90)).tolist()
        return cls(round(median, 3), round(p10, 3), round(p90, 3))


@dataclass(frozen=True)
class Prepared:
    """Images that share a canvas, and what it took to prepare each, in ms on one core.

    `images` uint8 [N, H, W, 3]; `places` says where each lies in its canvas.
    """

    images: NDArray[np.uint8]
    places: list[Letterbox]
    decode: Spread
    resize: Spread

    def batch(self, number: int, size: int) -> tuple[NDArray[np.uint8], list[Letterbox]]:
        """The images [size, H, W, 3] and places of the batch with this number, going round."""
        rows = [(number * size + row) % len(self.places) for row in range(size)]
        return self.images[rows], [self.places[row] for row in rows]


@dataclass(frozen=True)
class EngineTimes:
    """Per round, milliseconds per image: `graph` in the session, `finish` after it."""

    graph: list[float]
    finish: list[float]


def prepare(pictures: Sequence[bytes], scale: int, manifest: Manifest) -> Prepared:
    """The pictures of the commonest canvas at a scale, decoded and resized several times over."""
    canvases = manifest.canvases_by_scale[scale]
    decode_ms, resize_ms, rows = [], [], []
    for picture in [*pictures, *pictures, *pictures]:
        start = time.perf_counter()
        image = read_upright(picture)
        decoded = time.perf_counter()
        place = letterbox((image.height, image.width), scale, canvases)
        canvas = np.zeros((*place.canvas, 3), np.uint8)
        fill_canvas(image, place, canvas)
        resize_ms.append((time.perf_counter() - decoded) * 1000.0)
        decode_ms.append((decoded - start) * 1000.0)
        rows.append((place, canvas))
    rows = rows[-len(pictures) :]
    commonest = Counter(place.canvas for place, _ in rows).most_common(1)[0][0]
    kept = [(place, canvas) for place, canvas in rows if place.canvas == commonest]
    return Prepared(
        np.stack([canvas for _, canvas in kept]),
        [place for place, _ in kept],
        Spread.of(decode_ms),
        Spread.of(resize_ms),
    )


def time_engines(
    sessions: Mapping[Precision, Session],
    prepared: Prepared,
    batch: int,
    options: Options,
    seconds: float,
    tick: Callable[[float], None],
) -> dict[Precision, EngineTimes]:
    """The times of every session on the same batches, in turns, for `seconds` in all.

    In turns, and in the other order every second round, so that a clock that slows down or a noisy
    neighbour meets all of them alike. After each round `tick` is told the seconds spent so far.
    """
    times = {precision: EngineTimes([], []) for precision in sessions}
    number = -WARM_UP_RUNS
    spent = 0.0
    begin = time.monotonic()
    while number < MIN_ROUNDS or spent < seconds:
        images, places = prepared.batch(number, batch)
        sizes = np.array([place.resized for place in places], np.int64)
        for precision in list(sessions)[:: 1 if number % 2 else -1]:
            session = sessions[precision]
            thresholds = options.engine_thresholds(session.manifest)
            start = time.perf_counter()
            found = session.run(images, sizes, *thresholds)
            ran = time.perf_counter()
            for one, place in zip(found, places, strict=True):
                finish(one, place, options)
            done = time.perf_counter()
            if number >= 0:
                times[precision].graph.append((ran - start) * 1000.0 / batch)
                times[precision].finish.append((done - ran) * 1000.0 / batch)
        number += 1
        spent = time.monotonic() - begin
        tick(spent)
    return times
