from __future__ import annotations

from loadtest.speed.pipeline import Pipeline
from tests.service.fakes import FakeSession, picture

PICTURES = [picture(160, 128), picture(80, 64)]


def test_alone_runs_one_picture_on_its_canvas() -> None:
    session = FakeSession()
    pipeline = Pipeline(session, PICTURES)
    assert pipeline.alone(0) > 0
    assert pipeline.alone(3) > 0
    assert [shape for shape, *_ in session.runs] == [(1, 128, 160, 3), (1, 128, 160, 3)]
    assert [sizes for _, sizes, *_ in session.runs] == [[[128, 160]], [[128, 160]]]


def test_rate_counts_the_pictures_of_the_batches_that_ran() -> None:
    session = FakeSession()
    rate = Pipeline(session, PICTURES).rate(batch=2, seconds=0.2)
    assert {shape[0] for shape, *_ in session.runs} == {2}
    # The first batch, which waits for the decoder, does not count.
    counted = 2 * (len(session.runs) - 1)
    assert counted / 0.4 < rate <= counted / 0.2
