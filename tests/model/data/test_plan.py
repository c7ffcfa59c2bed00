"""The plan of batches: how often pictures appear, and that any step can be asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.plan import Plan


def plan(times: list[float], groups: list[int], batch_size: int, seed: int = 3) -> Plan:
    return Plan(np.array(times, np.float64), np.array(groups), batch_size, seed)


def shown(made: Plan, first: int, last: int) -> list[list[int]]:
    return [made.batch(step).pictures.tolist() for step in range(first, last)]


def test_one_group_goes_through_permutations_of_seed_and_epoch() -> None:
    # default_rng([3, 0, epoch]).permutation(5) for epochs 0, 1 and 2, cut every two: what runs
    # of version 0.1.0 saw, and what their resumption must see.
    entries = [*(4, 2, 1, 3, 0), *(3, 1, 4, 0, 2), *(2, 1, 3, 4)]
    found = np.concatenate(shown(plan([1.0] * 5, [0] * 5, 2), 0, 7))
    assert found.tolist() == entries


def test_repeated_pictures_are_shuffled_as_entries_of_their_own() -> None:
    # default_rng([3, 0, 0]).permutation(5) over the entries 0, 0, 0, 1, 1.
    assert shown(plan([3.0, 2.0], [0, 0], 5), 0, 1) == [[1, 0, 0, 1, 0]]


def test_another_seed_gives_another_order() -> None:
    orders = {tuple(shown(plan([1.0] * 8, [0] * 8, 8, seed), 0, 1)[0]) for seed in range(5)}
    assert len(orders) == 5


plans = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.lists(st.sampled_from([1.0, 1.25, 1.9, 2.0, 3.5]), min_size=count, max_size=count),
        st.lists(st.integers(0, 2), min_size=count, max_size=count).map(_without_gaps),
        st.integers(1, 5),
        st.integers(0, 99),
    )
)


def _without_gaps(groups: list[int]) -> list[int]:
    present = sorted(set(groups))
    return [present.index(group) for group in groups]


@settings(max_examples=60, deadline=None)
@given(plans)
def test_batches_are_whole_and_of_one_group(case: tuple[list[float], list[int], int, int]) -> None:
    times, groups, batch_size, seed = case
    made = plan(times, groups, batch_size, seed)
    for step in range(30):
        batch = made.batch(step)
        assert len(batch.pictures) == batch_size
        assert {groups[picture] for picture in batch.pictures} == {batch.group}


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(0, 60))
def test_step_asked_for_at_once_is_the_step_that_comes_in_turn(
    case: tuple[list[float], list[int], int, int], step: int
) -> None:
    in_turn = shown(plan(*case[:3], seed=case[3]), 0, step + 1)
    assert shown(plan(*case[:3], seed=case[3]), step, step + 1) == in_turn[-1:]


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(1, 8))
def test_after_some_epochs_a_picture_waits_for_one_batch_of_its_group_at_most(
    case: tuple[list[float], list[int], int, int], epochs: int
) -> None:
    times, groups, batch_size, seed = case
    whole = [round(t) for t in times]
    entries = np.bincount(groups, weights=whole).astype(int) * epochs
    steps = int((entries // batch_size).sum())
    made = plan(list(map(float, whole)), groups, batch_size, seed)
    pictures = [made.batch(step).pictures for step in range(steps)]
    counts = np.bincount(np.concatenate([*pictures, np.arange(len(times))])) - 1
    missing = np.array(whole) * epochs - counts
    assert missing.min() >= 0
    assert np.bincount(groups, weights=missing).tolist() == (entries % batch_size).tolist()
    for picture, group in enumerate(groups):
        if entries[group] >= batch_size * epochs:
            # What waits is of the last epoch.
            assert missing[picture] <= whole[picture]


def test_fractional_times_are_rounded_up_or_down_and_exact_on_average() -> None:
    made = plan([1.0, 1.25, 2.5], [0, 0, 0], 1)
    order = [int(made.batch(step).pictures[0]) for step in range(19 * 40)]
    counts = np.bincount(order)
    # 160 epochs of 4.75 entries on average; a picture is never more than one entry off.
    assert np.abs(counts - np.array([160, 200, 400])).max() <= 1


def test_batches_of_several_groups_come_in_random_order() -> None:
    made = plan([1.0] * 40, [0] * 20 + [1] * 20, 2)
    groups = [made.batch(step).group for step in range(20)]
    assert sorted(groups) == [0] * 10 + [1] * 10
    assert groups not in ([0] * 10 + [1] * 10, [1] * 10 + [0] * 10)


def test_one_picture_fills_a_batch_larger_than_the_epoch() -> None:
    assert shown(plan([1.0], [0], 4), 0, 2) == [[0, 0, 0, 0]] * 2


@pytest.mark.parametrize("step", [0, 10**9])
def test_far_step_is_as_near_as_the_first(step: int) -> None:
    batch = plan([1.0, 1.5, 1.0], [0, 1, 1], 4).batch(step)
    assert len(batch.pictures) == 4
