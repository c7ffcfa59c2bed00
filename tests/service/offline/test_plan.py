from __future__ import annotations

import pytest

from model.errors import InputError
from service.offline.plan import Named, parts_of, read_plan, write_plan


def named(count: int, row_group: int | None = None, first: int = 1) -> list[Named]:
    numbers = range(first, first + count)
    return [Named(number, f"{number}.jpg", "/in", row_group) for number in numbers]


def files(parts) -> list[list[str]]:
    return [part["file"].to_pylist() for part in parts]


def test_pictures_are_in_parts_of_a_size_in_their_order():
    assert files(parts_of(named(5), 2)) == [["1.jpg", "2.jpg"], ["3.jpg", "4.jpg"], ["5.jpg"]]
    assert files(parts_of([], 2)) == []


def test_a_row_group_is_a_part_whatever_its_size():
    parts = list(parts_of([*named(3, row_group=0), *named(1, row_group=1, first=4)], 2))
    assert files(parts) == [["1.jpg", "2.jpg", "3.jpg"], ["4.jpg"]]
    assert [part["row_group"].to_pylist() for part in parts] == [[0, 0, 0], [1]]


def test_parts_come_while_the_pictures_do():
    asked = []

    def pictures():
        for picture in named(1000):
            asked.append(picture.image_id)
            yield picture

    parts = parts_of(pictures(), 2)
    assert next(parts)["image_id"].to_pylist() == [1, 2]
    assert asked == [1, 2, 3]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Named(6, "2.jpg", "/other"), "the run: picture 2.jpg is listed twice"),
        (Named(3, "6.jpg", "/other"), "the run: image id 3 is listed twice"),
    ],
)
def test_a_picture_that_comes_twice_is_refused_and_no_plan_is_left(tmp_path, other, sentence):
    with pytest.raises(InputError, match=sentence):
        write_plan(tmp_path, {}, parts_of([*named(5), other], 2))
    assert list(tmp_path.iterdir()) == []


def test_ids_whose_hashes_are_alike_are_not_taken_for_one(tmp_path):
    assert hash(-1) == hash(-2)
    pictures = [Named(number, f"{number}.jpg", "/in") for number in (-1, -2)]
    write_plan(tmp_path, {}, parts_of(pictures, 2))
    assert read_plan(tmp_path).images == 2


def test_a_plan_of_no_picture_is_refused(tmp_path):
    with pytest.raises(InputError, match="what was given has no picture"):
        write_plan(tmp_path, {}, parts_of([], 2))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_read_as_it_was_written(tmp_path):
    write_plan(tmp_path, {"device": "cpu"}, parts_of(named(5), 2))
    read = read_plan(tmp_path)
    assert read.facts == {"device": "cpu"}
    assert files(read.parts) == [["1.jpg", "2.jpg"], ["3.jpg", "4.jpg"], ["5.jpg"]]
    assert read.images == 5
    assert read.differs_from({"device": "cpu"}, parts_of(named(5), 2)) == ""


def test_what_differs_is_said(tmp_path):
    facts = {"device": "cpu", "asked": {}}
    write_plan(tmp_path, facts, parts_of(named(5), 2))
    plan = read_plan(tmp_path)
    otherwise = plan.differs_from({"device": "cpu", "asked": {"scale": 96}}, [])
    assert otherwise == "whose asked was {} and not {'scale': 96}"
    elsewhere = [picture._replace(source="/x") for picture in named(5)]
    others = [parts_of(named(5), 1), parts_of(elsewhere, 2), plan.parts[:2]]
    others += [[*plan.parts, plan.parts[0]], []]
    for parts in others:
        assert plan.differs_from(facts, parts) == "of 5 other pictures, or in other parts"
