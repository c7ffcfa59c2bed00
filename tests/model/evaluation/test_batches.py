"""Pictures on canvases, in batches, read ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from model.data.records import Record
from model.errors import InputError
from model.evaluation.batches import picture_batches, read_ahead
from model.letterbox import Canvas

CANVASES = [Canvas(32, 64), Canvas(64, 32)]


@dataclass(frozen=True)
class Plain(Record):
    """A picture of one grey, its image id."""

    def picture(self) -> Image.Image:
        if self.source == "broken":
            raise InputError("broken: not a picture")
        height, width = self.size
        return Image.new("RGB", (width, height), (self.image_id,) * 3)


def plain(image_id: int, size: tuple[int, int], source: str = "") -> Record:
    none = np.zeros((0, 4), np.float32)
    return Plain(image_id, source, size, none, np.zeros(0, np.int64), none)


RECORDS = [
    plain(10, (30, 60)),
    plain(20, (60, 30)),
    plain(30, (32, 64)),
    plain(40, (64, 128)),
    plain(50, (60, 30)),
]


def test_batches_share_a_canvas_and_hold_every_picture_once() -> None:
    batches = list(picture_batches(RECORDS, 32, CANVASES, batch_size=2))
    told = [([r.image_id for r in b.records], b.images.shape) for b in batches]
    assert told == [
        ([10, 30], (2, 32, 64, 3)),
        ([40], (1, 32, 64, 3)),
        ([20, 50], (2, 64, 32, 3)),
    ]


def test_picture_lies_at_the_top_left_with_its_size() -> None:
    records = [plain(10, (30, 40)), plain(30, (32, 64))]
    (first,) = picture_batches(records, 30, CANVASES, batch_size=2)
    assert first.image_sizes.tolist() == [[30, 40], [25, 50]]
    assert [place.resized for place in first.places] == [(30, 40), (25, 50)]
    assert (first.images[0, :30, :40] == 10).all()
    assert (first.images[0, 30:] == 0).all()
    assert (first.images[0, :, 40:] == 0).all()
    assert (first.images[1, :25, :50] == 30).all()


def test_error_comes_in_its_batch_s_place() -> None:
    records = [*RECORDS[:1], replace(RECORDS[2], source="broken")]
    batches = picture_batches(records, 32, CANVASES, batch_size=1)
    assert [record.image_id for record in next(batches).records] == [10]
    with pytest.raises(InputError, match="broken: not a picture"):
        next(batches)


def test_no_records_give_no_batches() -> None:
    assert list(picture_batches([], 32, CANVASES, batch_size=2)) == []


def test_read_ahead_keeps_the_order() -> None:
    assert list(read_ahead(lambda n: n * n, range(20), threads=3, ahead=5)) == [
        n * n for n in range(20)
    ]


def test_read_ahead_takes_no_more_than_it_may() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = read_ahead(lambda n: n, items(), threads=2, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) == 5
    results.close()  # type: ignore[attr-defined]


def test_read_ahead_works_while_nobody_waits() -> None:
    second = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            second.set()
        return number

    results = read_ahead(work, range(3), threads=1, ahead=2)
    assert next(results) == 0
    assert second.wait(timeout=10)
    assert list(results) == [1, 2]
