from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import InputError
from service.offline.plan import Named, Plan, parts_of, read_plan


def named(count: int, row_group: int | None = None, first: int = 1) -> list[Named]:
    numbers = range(first, first + count)
    return [Named(number, f"{number}.jpg", Path("/in"), row_group) for number in numbers]


def files(parts) -> list[list[str]]:
    return [part["file"].to_pylist() for part in parts]


def test_pictures_are_in_parts_of_a_size_in_their_order():
    assert files(parts_of(named(5), 2)) == [["1.jpg", "2.jpg"], ["3.jpg", "4.jpg"], ["5.jpg"]]
    assert parts_of([], 2) == []


def test_a_row_group_is_a_part_whatever_its_size():
    parts = parts_of([*named(3, row_group=0), *named(1, row_group=1, first=4)], 2)
    assert files(parts) == [["1.jpg", "2.jpg", "3.jpg"], ["4.jpg"]]
    assert [part["row_group"].to_pylist() for part in parts] == [[0, 0, 0], [1]]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Named(2, "1.jpg", Path("/other")), "the run: picture 1.jpg is listed twice"),
        (Named(1, "2.jpg", Path("/other")), "the run: image id 1 is listed twice"),
    ],
)
def test_a_picture_that_comes_twice_is_refused(other, sentence):
    with pytest.raises(InputError, match=sentence):
        parts_of([*named(1), other], 2)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = Plan({"device": "cpu"}, parts_of(named(5), 2))
    plan.write(tmp_path)
    read = read_plan(tmp_path)
    assert read.facts == {"device": "cpu"}
    assert files(read.parts) == files(plan.parts)
    assert read.images == 5
    assert read.differs_from(plan) == plan.differs_from(read) == ""


def test_what_differs_is_said():
    plan = Plan({"device": "cpu", "asked": {}}, parts_of(named(5), 2))
    other = Plan({"device": "cpu", "asked": {"scale": 96}}, plan.parts)
    assert plan.differs_from(other) == "whose asked was {} and not {'scale': 96}"
    smaller_parts = Plan(plan.facts, parts_of(named(5), 1))
    assert plan.differs_from(smaller_parts) == "of 5 other pictures, or in other parts"
    elsewhere = Plan(plan.facts, parts_of([one._replace(source="/x") for one in named(5)], 2))
    assert plan.differs_from(elsewhere) == "of 5 other pictures, or in other parts"
