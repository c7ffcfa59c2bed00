import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.letterbox import Canvas
from service.schedule import Entry, Key, Limits, Schedule

SMALL, LARGE = Canvas(64, 96), Canvas(128, 160)
IMAGE = np.zeros((1, 1, 3), np.uint8)


def entry(canvas: Canvas = SMALL, at: float = 0.0, score: float = 0.05, deadline=None) -> Entry:
    return Entry(Key(canvas, score, 0.5), IMAGE, (1, 1), at, deadline)


def schedule(batch_size: int = 4, batch_pixels: int = 10**9) -> Schedule:
    return Schedule(Limits(batch_size, batch_pixels))


def test_take_batch_of_nothing_is_empty():
    assert schedule().take_batch() == []


def test_take_batch_gives_one_key_in_order_of_arrival():
    queue = schedule()
    first, other, second = entry(at=1.0), entry(LARGE, at=2.0), entry(at=3.0)
    for item in (first, other, second):
        queue.add(item)
    assert queue.take_batch() == [first, second]
    assert queue.take_batch() == [other]
    assert len(queue) == 0


def test_take_batch_serves_the_key_that_waits_longest():
    queue = schedule()
    late, early = entry(SMALL, at=5.0), entry(LARGE, at=4.0)
    queue.add(late)
    queue.add(early)
    assert queue.take_batch() == [early]


def test_other_thresholds_do_not_share_a_batch():
    queue = schedule()
    queue.add(entry(at=1.0))
    queue.add(entry(at=2.0, score=0.01))
    assert [len(queue.take_batch()) for _ in range(2)] == [1, 1]


def test_take_batch_is_bounded_by_count():
    queue = schedule(batch_size=2)
    for at in range(5):
        queue.add(entry(at=float(at)))
    assert [len(queue.take_batch()) for _ in range(3)] == [2, 2, 1]


@pytest.mark.parametrize(("canvas", "capacity"), [(SMALL, 3), (LARGE, 1), (Canvas(1024, 1024), 1)])
def test_capacity_is_bounded_by_padded_pixels_but_lets_a_lone_image_through(canvas, capacity):
    assert Limits(8, 64 * 96 * 3 + 1).capacity(canvas) == capacity


def test_expire_takes_out_those_at_or_past_their_deadline():
    queue = schedule()
    late, due, early, free = (entry(deadline=d) for d in (9.0, 10.0, 10.1, None))
    for item in (late, due, early, free):
        queue.add(item)
    assert queue.expire(10.0) == [late, due]
    assert queue.take_batch() == [early, free]


def test_discard_of_what_is_not_queued_changes_nothing():
    queue = schedule()
    queue.add(entry())
    queue.discard(entry())
    queue.discard(entry(LARGE))
    assert len(queue) == 1


def test_oldest_age_is_that_of_the_oldest_head():
    queue = schedule()
    assert queue.oldest_age_s(7.0) == 0.0
    queue.add(entry(SMALL, at=5.0))
    queue.add(entry(LARGE, at=4.0))
    assert queue.oldest_age_s(7.0) == 3.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([SMALL, LARGE]), st.sampled_from([0.05, 0.01])), max_size=20
    ),
    st.integers(1, 5),
    st.integers(1, 10 * 128 * 160),
)
def test_every_entry_leaves_once_within_the_limits_and_in_order(keys, batch_size, batch_pixels):
    queue = schedule(batch_size, batch_pixels)
    entries = [entry(canvas, float(at), score) for at, (canvas, score) in enumerate(keys)]
    for item in entries:
        queue.add(item)
    left: list[Entry] = []
    while batch := queue.take_batch():
        assert len({item.key for item in batch}) == 1
        assert len(batch) <= batch_size
        height, width = batch[0].key.canvas
        assert len(batch) == 1 or len(batch) * height * width <= batch_pixels
        waiting = [item for item in entries if item not in left]
        assert batch[0] is min(waiting, key=lambda item: item.queued_at)
        left += batch
    assert len(left) == len(entries)
    for key in {item.key for item in entries}:
        arrived = [item.queued_at for item in left if item.key == key]
        assert arrived == sorted(arrived)
