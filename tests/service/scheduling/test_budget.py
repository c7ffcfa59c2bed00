from service.scheduling.budget import MAX_PATIENCE, PATIENCE, Budget
from service.scheduling.schedule import Limits
from tests.service.scheduling.entries import LARGE, SMALL


def budget(batch_size: int = 8) -> Budget:
    return Budget(Limits(batch_size, 10**9))


def go_well(it: Budget, size: int, times: int) -> None:
    for _ in range(times):
        it.went_well(SMALL, size)


def test_running_out_of_memory_halves_the_batches_of_that_canvas_alone():
    it = budget()
    it.ran_out(SMALL, 7)
    assert (it.capacity(SMALL), it.capacity(LARGE)) == (3, 8)
    it.ran_out(SMALL, 3)
    it.ran_out(SMALL, 1)
    assert it.capacity(SMALL) == 1


def test_a_batch_smaller_than_the_bound_never_raises_it():
    it = budget()
    it.ran_out(SMALL, 2)
    it.ran_out(SMALL, 8)
    assert it.capacity(SMALL) == 1


def test_enough_full_batches_that_went_well_try_one_image_more():
    it = budget()
    it.ran_out(SMALL, 8)
    go_well(it, 3, 1000)  # not full: they say nothing of a fifth image
    go_well(it, 4, PATIENCE - 1)
    assert it.capacity(SMALL) == 4
    go_well(it, 4, 1)
    assert it.capacity(SMALL) == 5


def test_the_bound_comes_back_to_the_limit():
    it = budget(batch_size=3)
    it.ran_out(SMALL, 3)
    for size in (1, 2, 3, 3):
        go_well(it, size, PATIENCE)
    assert it.capacity(SMALL) == 3
    it.ran_out(SMALL, 3)
    assert it.capacity(SMALL) == 1


def test_patience_doubles_each_time_memory_runs_out_again():
    it = budget()
    it.ran_out(SMALL, 8)
    go_well(it, 4, PATIENCE)
    it.ran_out(SMALL, 5)
    assert it.capacity(SMALL) == 2
    go_well(it, 2, 2 * PATIENCE - 1)
    assert it.capacity(SMALL) == 2
    go_well(it, 2, 1)
    assert it.capacity(SMALL) == 3
    for _ in range(20):
        it.ran_out(SMALL, 1)
    go_well(it, 1, MAX_PATIENCE)
    assert it.capacity(SMALL) == 2


def test_a_lone_image_without_memory_lowers_nothing_where_batches_hold_one():
    it = budget(batch_size=1)
    it.ran_out(SMALL, 1)
    assert it.capacity(SMALL) == 1
