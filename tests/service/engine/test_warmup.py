"""Ready means ready: whatever picture comes, its shape has run before."""

from __future__ import annotations

import asyncio
import ctypes
import random

import pytest

from service.engine.warmup import trim_heap, warm_up_wait_s
from tests.service.fakes import FakeSession, picture


@pytest.mark.anyio
async def test_pictures_of_many_sizes_in_any_company_run_in_shapes_that_were_warmed(serving):
    session, dice = FakeSession(), random.Random(5)
    async with serving(session, max_batch_size=3, queue_limit=256) as client:
        warmed = {shape for shape, *_ in session.runs}
        assert len(warmed) == len(session.runs) == 9  # three canvases with 1, 2 and 3 images
        posts = [
            client.post(
                f"/v1/detect?scale={dice.choice((64, 128))}",
                content=picture(dice.randint(1, 400), dice.randint(1, 400)),
            )
            for _ in range(80)
        ]
        answers = await asyncio.gather(*posts)
        metrics = (await client.get("/metrics")).text
    assert {answer.status_code for answer in answers} == {200}
    assert {shape for shape, *_ in session.runs} == warmed
    assert "retinaserve_unseen_shapes_total 0.0" in metrics


@pytest.mark.parametrize(
    ("elapsed_s", "done", "total", "wait_s"),
    [
        (0.0, 0, 6, 1),
        (2.0, 0, 6, 12),
        (3.0, 2, 6, 6),
        (3.1, 2, 6, 7),
        (0.01, 2, 6, 1),
        (30.0, 6, 6, 1),
        (30.0, 1, 6, 60),
    ],
)
def test_the_wait_for_the_warm_up_is_that_of_the_shapes_left(elapsed_s, done, total, wait_s):
    assert warm_up_wait_s(elapsed_s, done, total) == wait_s


def test_trimming_the_heap_needs_no_glibc(monkeypatch):
    calls = []

    class Libc:
        def malloc_trim(self, pad: int) -> None:
            calls.append(pad)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc())
    trim_heap()
    assert calls == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    trim_heap()
