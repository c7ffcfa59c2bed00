from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pictures.byte_budget import ByteBudget
from tests.service.fakes import settle

pytestmark = pytest.mark.anyio


async def waiting(budget: ByteBudget, *sizes: int) -> list[asyncio.Task[None]]:
    """Those who wait for so many bytes each, in the order in which they came."""
    tasks = [asyncio.create_task(budget.take(size)) for size in sizes]
    await settle()
    return tasks


async def test_bytes_are_handed_out_in_order_of_arrival():
    budget = ByteBudget(10)
    assert budget.take_at_once(8)
    large, small = await waiting(budget, 6, 1)
    assert (large.done(), small.done(), budget.waiting) == (False, False, 2)
    assert not budget.take_at_once(1)  # the bytes are there, but others came before
    budget.give_back(8)
    await asyncio.gather(large, small)
    assert (budget.held, budget.waiting) == (7, 0)


async def test_a_leaver_takes_nothing_and_lets_those_behind_it_go_on():
    budget = ByteBudget(10)
    assert budget.take_at_once(8)
    large, small = await waiting(budget, 6, 2)
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await small
    assert (budget.held, budget.waiting) == (10, 0)


async def test_leaving_at_the_very_moment_of_the_grant_gives_the_bytes_back():
    budget = ByteBudget(10)
    assert budget.take_at_once(10)
    (waiter,) = await waiting(budget, 4)
    budget.give_back(10)  # the bytes are the waiter's now, but it has not run since
    assert budget.held == 4
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert (budget.held, budget.waiting) == (0, 0)


async def test_more_than_there_can_ever_be_is_refused():
    with pytest.raises(ValueError, match="11 bytes of a budget of 10"):
        await ByteBudget(10).take(11)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.integers(0, 10)),
            st.tuples(st.just("at_once"), st.integers(0, 10)),
            st.tuples(st.sampled_from(["cancel", "give_back"]), st.integers(0, 50)),
            st.tuples(st.just("settle"), st.just(0)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_no_byte_is_lost_or_made_and_nobody_is_forgotten(steps):
    async def play() -> None:
        budget = ByteBudget(10)
        mine: list[int] = []
        waiting: list[tuple[asyncio.Task[None], int]] = []

        def collect() -> None:
            for task, size in [*waiting]:
                if task.done():
                    waiting.remove((task, size))
                    if not task.cancelled():
                        mine.append(size)

        for step, value in steps:
            match step:
                case "take":
                    waiting.append((asyncio.create_task(budget.take(value)), value))
                case "at_once" if budget.take_at_once(value):
                    mine.append(value)
                case "cancel" if waiting:
                    waiting[value % len(waiting)][0].cancel()
                case "give_back" if mine:
                    budget.give_back(mine.pop(value % len(mine)))
                case "settle":
                    await settle()
                    collect()
                    assert budget.held == sum(mine)
                    assert budget.waiting == len(waiting)
                    if waiting:  # the first has too few, or it would not wait
                        assert budget.held + waiting[0][1] > 10
            assert 0 <= budget.held <= 10
        while waiting or mine:
            await settle()
            collect()
            if mine:
                budget.give_back(mine.pop())
        assert (budget.held, budget.waiting) == (0, 0)

    asyncio.run(play())


async def test_threads_and_the_loop_share_one_budget():
    budget = ByteBudget(3)
    worst = 0

    def work() -> None:
        nonlocal worst
        if budget.take_at_once(1):
            worst = max(worst, budget.held)
            budget.give_back(1)

    async def wait() -> None:
        await budget.take(2)
        budget.give_back(2)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:
        jobs = [loop.run_in_executor(pool, work) for _ in range(500)]
        await asyncio.gather(*jobs, *(wait() for _ in range(500)))
    assert worst <= 3
    assert (budget.held, budget.waiting) == (0, 0)
