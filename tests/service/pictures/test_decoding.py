from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.errors import TooLarge, Undecodable
from service.pictures.decoded_bytes import decoded_bytes
from service.pictures.decoding import Decoding
from service.pictures.images import open_header, prepare_image
from tests.service import hostile
from tests.service.fakes import make_manifest, picture, settle

pytestmark = pytest.mark.anyio

MANIFEST = make_manifest()
PNG = picture()
SIZE = decoded_bytes(open_header(PNG, 10**6), PNG, 128, MANIFEST)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


class Gate:
    """Holds every decoding until it is opened; knows who has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from service.pictures import decoding

        self.sizes: list[tuple[int, int]] = []
        self._open = threading.Event()
        self._begun = threading.Semaphore(0)
        original = decoding.decode_into_canvas

        def held(image, size, scale, manifest):
            self.sizes.append(size)
            self._begun.release()
            assert self._open.wait(10)
            return original(image, size, scale, manifest)

        monkeypatch.setattr(decoding, "decode_into_canvas", held)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.acquire, timeout=10)

    def open(self) -> None:
        self._open.set()


async def waiting(decoding: Decoding, count: int) -> None:
    while decoding.budget.waiting != count:  # noqa: ASYNC110 - a thread says so, by no event
        await asyncio.sleep(0.001)


async def test_a_picture_is_prepared_as_without_a_budget(pool):
    prepared = await Decoding(pool, SIZE, 10**6).prepare(PNG, 128, MANIFEST)
    expected = prepare_image(PNG, 128, MANIFEST)
    assert np.array_equal(prepared.canvas, expected.canvas)
    assert prepared.place == expected.place


async def test_pictures_wait_until_there_are_bytes_for_them_in_order(pool, monkeypatch):
    gate = Gate(monkeypatch)
    decoding = Decoding(pool, 2 * SIZE, 10**6)
    files = [picture(160, 128 - n) for n in range(5)]
    tasks = []
    for n, data in enumerate(files):
        tasks.append(asyncio.create_task(decoding.prepare(data, 128, MANIFEST)))
        await (gate.begun() if n < 2 else waiting(decoding, n - 1))
    assert decoding.budget.held <= 2 * SIZE
    assert len(gate.sizes) == 2
    gate.open()
    await asyncio.gather(*tasks)
    assert [height for _, height in gate.sizes] == [128, 127, 126, 125, 124]
    assert (decoding.budget.held, decoding.budget.waiting) == (0, 0)


async def test_who_leaves_while_waiting_is_never_decoded(pool, monkeypatch):
    gate = Gate(monkeypatch)
    decoding = Decoding(pool, SIZE, 10**6)
    first = asyncio.create_task(decoding.prepare(PNG, 128, MANIFEST))
    await gate.begun()
    leaver = asyncio.create_task(decoding.prepare(picture(32, 32), 128, MANIFEST))
    await waiting(decoding, 1)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    gate.open()
    await first
    assert gate.sizes == [(160, 128)]
    assert (decoding.budget.held, decoding.budget.waiting) == (0, 0)


async def test_who_leaves_while_decoding_holds_its_bytes_until_the_thread_has_ended(
    pool, monkeypatch
):
    gate = Gate(monkeypatch)
    decoding = Decoding(pool, SIZE, 10**6)
    leaver = asyncio.create_task(decoding.prepare(PNG, 128, MANIFEST))
    await gate.begun()
    following = asyncio.create_task(decoding.prepare(PNG, 128, MANIFEST))
    await waiting(decoding, 1)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    await settle()
    assert decoding.budget.held == SIZE
    assert not following.done()
    gate.open()
    await following
    await asyncio.to_thread(pool.shutdown)
    assert decoding.budget.held == 0


async def test_a_failure_gives_the_bytes_back(pool):
    decoding = Decoding(pool, SIZE, 10**6)
    with pytest.raises(Undecodable):
        await decoding.prepare(PNG[:-200], 128, MANIFEST)
    assert decoding.budget.held == 0


async def test_a_picture_larger_than_the_budget_is_refused_with_both_sizes(pool):
    decoding = Decoding(pool, SIZE - 1, 10**6)
    sizes = f"PNG of 160x128 pixels takes {SIZE:,} bytes; accepted are up to {SIZE - 1:,}"
    with pytest.raises(TooLarge, match=sizes):
        await decoding.prepare(PNG, 128, MANIFEST)


async def test_tile_of_gigabytes_in_a_thumbnail_is_refused(pool):
    decoding = Decoding(pool, 1 << 28, 10**6)
    with pytest.raises(TooLarge, match="TIFF of 16x16 pixels takes"):
        await decoding.prepare(hostile.tiff_of_one_tile(16, 8192), 128, MANIFEST)


async def test_upright_picture_is_used_in_a_thread_within_the_budget(pool):
    decoding = Decoding(pool, 4 * SIZE, 10**6)
    held, size = await decoding.use_upright(PNG, lambda image: (decoding.budget.held, image.size))
    assert held > SIZE - 5 * 160 * 128
    assert size == (160, 128)
    assert decoding.budget.held == 0
