"""Single decisions of the dispatcher; anything in any order is in test_dispatcher_simulation."""

import pytest

from export.engines.session import DeviceFault, OutOfMemory
from service.errors import Draining, EngineLost, EngineOutOfMemory, InferenceFailed, TooLate
from service.scheduling.schedule import Answer
from tests.service.scheduling.entries import LARGE, SMALL, Desk, key


def measured(desk: Desk, *seconds: float) -> None:
    """Has runs of one, two... small images take so long."""
    for size, each in enumerate(seconds, 1):
        desk.dispatcher.forecast.ran(SMALL, size, each, desk.clock())


def steady(desk: Desk, *seconds: float) -> None:
    """As `measured`, so often that next to no deviation is left."""
    for _ in range(100):
        measured(desk, *seconds)


def test_a_lone_image_on_an_idle_engine_runs_at_once():
    desk = Desk()
    assert desk.dispatcher.next_batch() is None
    entry = desk.queue()
    assert desk.dispatcher.next_batch() == [entry]


def test_what_queues_during_a_run_is_the_next_batch():
    desk = Desk(batch_size=2)
    desk.queue()
    desk.dispatcher.next_batch()
    following = [desk.queue() for _ in range(3)]
    desk.dispatcher.succeeded(["found"])
    assert desk.run(1.0) == following[:2]
    assert desk.run(1.0) == following[2:]
    assert desk.dispatcher.next_batch() is None
    desk.queue()
    desk.run(1.0)
    assert [(r.size, r.reason) for r in desk.reports] == [
        (1, "busy"), (2, "full"), (1, "busy"), (1, "idle")
    ]  # fmt: skip


def test_an_answer_says_when_its_run_began():
    desk = Desk()
    entry = desk.queue()
    desk.clock.now = 103.0
    desk.run(2.0)
    assert entry.owner.told == [Answer("found", dispatched_at=103.0, batch_size=1)]


def test_an_answer_says_how_many_shared_its_run():
    desk = Desk()
    desk.queue()
    desk.run(1.0)
    sharing = [desk.queue(), desk.queue()]
    desk.run(1.0)
    assert [entry.owner.told[0].batch_size for entry in sharing] == [2, 2]


# Deadlines


def test_a_deadline_is_held_against_the_measured_time_of_the_run():
    desk = Desk()
    steady(desk, 1.0)
    desk.dispatcher.check(key(), desk.clock() + 1.01)
    with pytest.raises(TooLate):
        desk.dispatcher.check(key(), desk.clock() + 0.99)


def test_what_runs_and_what_waits_in_full_batches_is_ahead():
    desk = Desk(batch_size=2)
    steady(desk, 1.0, 1.5)
    desk.queue()
    desk.dispatcher.next_batch()  # one image: 1.0 s
    for _ in range(3):
        desk.queue()  # two: 1.5 s, and one that the next joins: 1.5 s
    desk.clock.now += 0.25
    desk.dispatcher.check(key(), desk.clock() + 3.76)
    with pytest.raises(TooLate):
        desk.dispatcher.check(key(), desk.clock() + 3.74)


def test_images_that_are_being_decoded_are_ahead_too():
    desk = Desk(batch_size=1)
    steady(desk, 1.0)
    place = desk.dispatcher.admit(key(), None)
    with pytest.raises(TooLate):
        desk.dispatcher.check(key(), desk.clock() + 1.99)
    desk.dispatcher.release(place)
    desk.dispatcher.check(key(), desk.clock() + 1.01)


def test_a_run_that_is_late_is_taken_to_be_late_as_long_again():
    desk = Desk(batch_size=1)
    steady(desk, 1.0)
    desk.queue()
    desk.dispatcher.next_batch()
    desk.clock.now += 4.0
    assert desk.dispatcher.wait_s == pytest.approx(3.0)


def test_decoding_counts_where_the_engine_is_free_before():
    desk = Desk()
    steady(desk, 1.0)
    for _ in range(100):
        desk.dispatcher.forecast.decoded(0.5, 0, desk.clock())
    desk.dispatcher.check(key(), desk.clock() + 1.51)
    with pytest.raises(TooLate):
        desk.dispatcher.check(key(), desk.clock() + 1.49)


def test_what_a_burst_waited_to_be_decoded_refuses_nobody_after_it():
    desk = Desk(queue_limit=100)
    for place in [desk.dispatcher.admit(key(), None) for _ in range(100)]:
        desk.clock.now += 0.01  # the last one waits for a second
        desk.dispatcher.add(desk.entry(place), place)
    while desk.dispatcher.queued:
        desk.run(0.0)
    desk.dispatcher.check(key(), desk.clock() + 0.1)


def test_a_refusal_says_when_the_same_request_would_have_been_taken():
    desk = Desk(batch_size=1)
    steady(desk, 10.0)
    desk.queue()
    desk.queue()
    desk.dispatcher.next_batch()
    with pytest.raises(TooLate) as refused:
        desk.dispatcher.check(key(), desk.clock() + 12.5)
    assert refused.value.headers == {"Retry-After": "18"}  # 30 s from now, 12.5 allowed


def test_a_bound_of_a_minute_on_retry_after():
    desk = Desk()
    desk.dispatcher.forecast.warmed(SMALL, 1, 500.0)
    assert desk.dispatcher.retry_after_s == 1
    desk.queue()
    assert desk.dispatcher.retry_after_s == 60


def test_a_figure_that_is_far_too_high_starves_nobody():
    desk = Desk(batch_size=1)
    measured(desk, 50.0)
    with pytest.raises(TooLate):
        desk.queue(within=1.0)
    desk.clock.now += 501.0  # nothing ran for ten times as long
    desk.queue(within=1.0)
    with pytest.raises(TooLate):
        desk.queue(within=1.0)  # one is enough to measure
    desk.run(0.1)
    desk.queue(within=1.0)


def test_an_image_is_checked_again_once_it_is_decoded_and_its_canvas_known():
    desk = Desk()
    steady(desk, 1.0)
    desk.dispatcher.forecast.ran(LARGE, 1, 5.0, desk.clock())
    place = desk.dispatcher.admit(key(), desk.clock() + 4.0)
    with pytest.raises(TooLate):
        desk.dispatcher.add(desk.entry(place, LARGE), place)
    assert desk.dispatcher.waiting == 0


def test_the_canvas_used_last_is_the_one_expected():
    desk = Desk()
    assert desk.dispatcher.likely([SMALL, LARGE]) == SMALL
    desk.queue(LARGE)
    assert desk.dispatcher.likely([SMALL, LARGE]) == LARGE
    desk.clock.now += 1.0
    desk.queue(SMALL)
    assert desk.dispatcher.likely([SMALL, LARGE]) == SMALL


def test_what_can_no_longer_be_in_time_is_refused_before_it_runs():
    desk = Desk(batch_size=1)
    steady(desk, 1.0)
    desk.queue()
    desk.dispatcher.next_batch()
    late, free = desk.queue(within=2.5), desk.queue()
    desk.clock.now += 1.6  # it took longer than expected
    desk.dispatcher.succeeded(["found"])
    assert desk.dispatcher.next_batch() == [free]
    assert late.owner.problem is TooLate


def test_where_all_of_a_key_is_too_late_the_next_key_runs():
    desk = Desk()
    steady(desk, 1.0)
    desk.queue(LARGE)
    desk.dispatcher.next_batch()
    late, free = desk.queue(within=1.5), desk.queue(LARGE)
    desk.clock.now += 0.6
    desk.dispatcher.succeeded(["found"])
    assert desk.dispatcher.next_batch() == [free]
    assert late.owner.problem is TooLate


def test_a_batch_is_made_smaller_rather_than_late():
    desk = Desk(batch_size=4)
    steady(desk, 1.0, 2.0, 3.0, 4.0)
    entries = [desk.queue() for _ in range(4)]
    for entry in entries:
        entry.deadline = desk.clock() + 2.5
    assert desk.dispatcher.next_batch() == entries[:2]


def test_company_is_expected_while_batches_are_full():
    desk = Desk(batch_size=2)
    steady(desk, 1.0, 1.5)
    for _ in range(2):
        desk.queue()
    desk.dispatcher.next_batch()
    with pytest.raises(TooLate):
        desk.dispatcher.check(key(), desk.clock() + 2.9)  # 1.5 and 1.5, though it is alone now
    desk.dispatcher.check(key(), desk.clock() + 3.1)


# Failures


def out_of_memory_above(desk: Desk, images: int) -> list[int]:
    """Runs all that waits on an engine with memory for so many; the sizes that it tried."""
    sizes = []
    while batch := desk.dispatcher.next_batch():
        sizes.append(len(batch))
        if len(batch) > images:
            desk.dispatcher.failed(OutOfMemory("no memory"))
        else:
            desk.dispatcher.succeeded(["found"] * len(batch))
    return sizes


def test_a_batch_without_memory_is_split_and_later_ones_are_smaller():
    desk = Desk(batch_size=8)
    entries = [desk.queue() for _ in range(16)]
    assert out_of_memory_above(desk, 3) == [8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]
    assert all(isinstance(entry.owner.told[0], Answer) for entry in entries)


def test_a_lone_image_without_memory_gets_an_error_of_its_own():
    desk = Desk()
    entries = [desk.queue(), desk.queue(LARGE)]
    desk.dispatcher.next_batch()
    desk.dispatcher.failed(OutOfMemory("no memory"))
    desk.run(1.0)
    assert entries[0].owner.problem is EngineOutOfMemory
    assert isinstance(entries[1].owner.told[0], Answer)


def test_a_lost_device_refuses_everybody_and_nothing_runs_any_more():
    desk = Desk(batch_size=2)
    place = desk.dispatcher.admit(key(), None)
    entries = [desk.queue() for _ in range(3)]
    desk.dispatcher.next_batch()
    desk.dispatcher.failed(DeviceFault("gone"))
    assert [entry.owner.problem for entry in entries] == [EngineLost] * 3
    with pytest.raises(EngineLost):
        desk.dispatcher.add(desk.entry(place), place)
    with pytest.raises(EngineLost):
        desk.dispatcher.check(key(), None)
    assert desk.dispatcher.done


def test_a_batch_that_fails_is_bisected():
    desk = Desk()
    one, bad = desk.queue(), desk.queue()
    desk.dispatcher.next_batch()
    desk.dispatcher.failed(RuntimeError("poison"))
    assert desk.dispatcher.next_batch() == [one]
    desk.dispatcher.succeeded(["found"])
    assert desk.dispatcher.next_batch() == [bad]
    desk.dispatcher.failed(RuntimeError("poison"))
    assert isinstance(one.owner.told[0], Answer)
    assert bad.owner.problem is InferenceFailed
    assert [report.reason for report in desk.reports] == ["busy", "retry", "retry"]


def test_end_tells_those_that_run_and_those_that_wait():
    desk = Desk(batch_size=1)
    entries = [desk.queue(), desk.queue()]
    desk.dispatcher.next_batch()
    desk.dispatcher.end()
    assert [entry.owner.problem for entry in entries] == [Draining] * 2


# What the metrics read


def test_gauges_of_a_busy_engine():
    desk = Desk(batch_size=2)
    steady(desk, 1.0, 1.5)
    desk.queue()
    desk.dispatcher.next_batch()
    desk.clock.now += 0.5
    for _ in range(3):
        desk.queue()
    desk.dispatcher.admit(key(), None)
    desk.clock.now += 0.25
    it = desk.dispatcher
    assert (it.running, it.queued, it.waiting, it.oldest_age_s) == (1, 3, 4, 0.25)
    assert it.wait_s == pytest.approx(0.25 + 1.5 + 1.5)
    assert it.retry_after_s == 4


def test_gauges_count_what_is_to_be_tried_again():
    desk = Desk()
    desk.queue()
    desk.queue()
    desk.dispatcher.next_batch()
    desk.clock.now += 3.0
    desk.dispatcher.failed(RuntimeError("poison"))
    it = desk.dispatcher
    assert (it.running, it.queued, it.waiting, it.oldest_age_s) == (0, 2, 2, 3.0)
