"""Pictures of a data set on their canvases, read by threads ahead of the network. No torch here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.data.records import Record
from model.letterbox import Canvas, Letterbox, fill_canvas, letterbox

READ_THREADS = 4
"""Pillow decodes and resizes without the interpreter's lock, so that threads do."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class PictureBatch(NamedTuple):
    """Pictures on canvases of one size.

    Shapes: images uint8 [B, H, W, 3], image_sizes int64 [B, 2], the valid (height, width).
    """

    records: list[Record]
    places: list[Letterbox]
    images: NDArray[np.uint8]
    image_sizes: NDArray[np.int64]


def picture_batches(
    records: Iterable[Record], scale: int, canvases: Sequence[Canvas], batch_size: int
) -> Iterator[PictureBatch]:
    """All pictures, in batches of up to `batch_size` that share a canvas.

    Each picture's canvas is the one that serving would choose, never its batch-mates' choice. A
    picture that can't be read raises InputError when its batch's turn comes.
    """
    by_canvas: dict[Canvas, list[tuple[Record, Letterbox]]] = {}
    for record in records:
        place = letterbox(record.size, scale, canvases)
        by_canvas.setdefault(place.canvas, []).append((record, place))
    images = read_ahead(
        _on_canvas,
        (entry for group in by_canvas.values() for entry in group),
        threads=READ_THREADS,
        ahead=max(READ_THREADS, 2 * batch_size),
    )
    for group in by_canvas.values():
        for start in range(0, len(group), batch_size):
            batch_records, places = map(list, zip(*group[start : start + batch_size], strict=True))
            yield PictureBatch(
                batch_records,
                places,
                np.stack(list(islice(images, len(places)))),
                np.array([place.resized for place in places], np.int64),
            )


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """`map(function, items)` by threads, at most `ahead` items before the one that is asked for.

    An exception is raised in its item's place. Closing the iterator drops what has not begun.
    """
    waiting: deque[Future[Result]] = deque()
    source = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting.extend(pool.submit(function, item) for item in islice(source, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _on_canvas(entry: tuple[Record, Letterbox]) -> NDArray[np.uint8]:
    record, place = entry
    canvas = np.zeros((*place.canvas, 3), np.uint8)
    fill_canvas(record.picture(), place, canvas)
    return canvas
