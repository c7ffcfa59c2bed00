from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import QuotaExceeded
from service.quota import Quota, address_key


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def let_in(quota: Quota, caller: str, times: int) -> int:
    """How many of so many images at once are let in."""
    count = 0
    for _ in range(times):
        try:
            quota.take(caller)
            count += 1
        except QuotaExceeded:
            pass
    return count


def test_burst_at_once_then_the_rate():
    clock = Clock()
    quota = Quota(2.0, 5, clock)
    assert let_in(quota, "a", 9) == 5
    clock.now += 0.49
    assert let_in(quota, "a", 1) == 0
    clock.now += 0.01
    assert let_in(quota, "a", 9) == 1
    clock.now += 60.0
    assert let_in(quota, "a", 9) == 5


def test_callers_do_not_spend_each_others_quota():
    quota = Quota(1.0, 1, Clock())
    assert [let_in(quota, caller, 2) for caller in "aba"] == [1, 1, 0]


def test_retry_after_is_when_there_is_room_again_in_whole_seconds():
    clock = Clock()
    quota = Quota(0.4, 1, clock)
    quota.take("a")
    with pytest.raises(QuotaExceeded, match=r"quota of 0\.4 images a second") as error:
        quota.take("a")
    assert error.value.headers == {"Retry-After": "3"}
    clock.now += 2.5
    quota.take("a")


def test_images_that_came_along_have_to_be_waited_for():
    clock = Clock()
    quota = Quota(1.0, 2, clock)
    quota.take("a")
    quota.charge("a", 31)
    with pytest.raises(QuotaExceeded) as error:
        quota.take("a")
    assert error.value.headers == {"Retry-After": "31"}
    clock.now += 31.0
    quota.take("a")


def test_callers_past_the_bound_are_forgotten_the_longest_unseen_first():
    quota = Quota(1.0, 1, Clock(), max_callers=2)
    for caller in "abac":
        let_in(quota, caller, 1)  # a is refused the second time, and so not seen
    assert [let_in(quota, caller, 1) for caller in "bc"] == [0, 0]
    assert let_in(quota, "a", 1) == 1


@given(
    st.lists(st.floats(0.0, 3.0), max_size=60), st.floats(0.1, 20.0), st.integers(1, 10)
)  # fmt: skip
def test_no_window_of_time_holds_more_than_burst_and_rate_allow(gaps, rate, burst):
    clock = Clock()
    quota = Quota(rate, burst, clock)
    taken = []
    for gap in gaps:
        clock.now += gap
        if let_in(quota, "a", 1):
            taken.append(clock.now)
        else:
            with pytest.raises(QuotaExceeded) as error:
                quota.take("a")
            assert int(error.value.headers["Retry-After"]) >= 1
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + rate * (taken[last] - taken[first])
            assert last - first + 1 <= allowed + 1e-6


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("x" * 1000, "x" * 64),
        ("", ""),
    ],
)
def test_an_ipv6_caller_is_its_network(host, key):
    assert address_key(host) == key
