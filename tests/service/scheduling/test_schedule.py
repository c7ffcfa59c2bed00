import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.letterbox import Canvas
from service.scheduling.schedule import Entry, Key, Limits, Schedule

SMALL, LARGE = Canvas(64, 96), Canvas(128, 160)
IMAGE = np.zeros((1, 1, 3), np.uint8)


def entry(canvas: Canvas = SMALL, at: float = 0.0, score: float = 0.05, deadline=None) -> Entry:
    return Entry(Key(canvas, score, 0.5), IMAGE, (1, 1), at, deadline)


def take(queue: Schedule, batch_size: int = 4, batch_pixels: int = 10**9) -> list[Entry]:
    batch, passed = queue.take_batch(Limits(batch_size, batch_pixels).capacity)
    assert passed == []
    return batch


def test_take_batch_of_nothing_is_empty():
    assert take(Schedule()) == []


def test_take_batch_gives_one_key_in_order_of_arrival():
    queue = Schedule()
    first, other, second = entry(at=1.0), entry(LARGE, at=2.0), entry(at=3.0)
    for item in (first, other, second):
        queue.add(item)
    assert take(queue) == [first, second]
    assert take(queue) == [other]
    assert len(queue) == 0


def test_take_batch_serves_the_key_that_waits_longest():
    queue = Schedule()
    late, early = entry(SMALL, at=5.0), entry(LARGE, at=4.0)
    queue.add(late)
    queue.add(early)
    assert take(queue) == [early]


def test_other_thresholds_do_not_share_a_batch():
    queue = Schedule()
    queue.add(entry(at=1.0))
    queue.add(entry(at=2.0, score=0.01))
    assert [len(take(queue)) for _ in range(2)] == [1, 1]


def test_take_batch_is_bounded_by_count():
    queue = Schedule()
    for at in range(5):
        queue.add(entry(at=float(at)))
    assert [len(take(queue, batch_size=2)) for _ in range(3)] == [2, 2, 1]


@pytest.mark.parametrize(("canvas", "capacity"), [(SMALL, 3), (LARGE, 1), (Canvas(1024, 1024), 1)])
def test_capacity_is_bounded_by_padded_pixels_but_lets_a_lone_image_through(canvas, capacity):
    assert Limits(8, 64 * 96 * 3 + 1).capacity(canvas) == capacity


def test_take_batch_is_the_largest_in_which_nobody_is_late():
    queue = Schedule()
    hasty, tight, free = entry(deadline=1.5), entry(deadline=2.5), entry()
    for item in (hasty, tight, free):
        queue.add(item)

    def is_late(item: Entry, size: int) -> bool:
        return item.deadline is not None and item.deadline < size  # a second an image

    assert queue.take_batch(Limits(4, 10**9).capacity, is_late) == ([tight, free], [hasty])
    assert len(queue) == 0


def test_take_batch_leaves_behind_whom_it_does_not_pass_over():
    queue = Schedule()
    items = [entry(deadline=2.5) for _ in range(4)]
    for item in items:
        queue.add(item)
    batch, passed = queue.take_batch(Limits(4, 10**9).capacity, lambda _, size: size > 2)
    assert (batch, passed, list(queue)) == (items[:2], [], items[2:])


def test_take_batch_passes_over_all_of_a_key_that_is_late_even_alone():
    queue = Schedule()
    late, free = entry(SMALL, at=1.0, deadline=0.5), entry(LARGE, at=2.0)
    queue.add(late)
    queue.add(free)
    assert queue.take_batch(
        Limits(4, 10**9).capacity, lambda item, _: item.deadline is not None
    ) == ([], [late])
    assert take(queue) == [free]


def test_who_was_passed_over_keeps_no_turn_for_those_behind():
    queue = Schedule()
    late, young, old = (
        entry(SMALL, at=1.0, deadline=0.5), entry(SMALL, at=9.0), entry(LARGE, at=5.0)
    )  # fmt: skip
    for item in (late, young, old):
        queue.add(item)
    assert queue.take_batch(
        Limits(4, 10**9).capacity, lambda item, _: item.deadline is not None
    ) == ([], [late])
    assert take(queue) == [old]
    assert take(queue) == [young]


def test_discard_of_what_is_not_queued_changes_nothing():
    queue = Schedule()
    queue.add(entry())
    queue.discard(entry())
    queue.discard(entry(LARGE))
    assert len(queue) == 1


def test_oldest_age_is_that_of_the_oldest_head():
    queue = Schedule()
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
    queue = Schedule()
    entries = [entry(canvas, float(at), score) for at, (canvas, score) in enumerate(keys)]
    for item in entries:
        queue.add(item)
    left: list[Entry] = []
    while batch := take(queue, batch_size, batch_pixels):
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
