"""Class names from a text file."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import InputError
from model.interop.class_names import read_class_names


def names_file(folder: Path, content: bytes) -> Path:
    path = folder / "classes.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ntraffic light\n\xc3\xa9t\xc3\xa9",
        b"cat\ntraffic light\n\xc3\xa9t\xc3\xa9\n",
        b"cat\r\ntraffic light\r\n\xc3\xa9t\xc3\xa9\r\n\r\n",
        b"\xef\xbb\xbfcat\n  traffic light\t\n\xc3\xa9t\xc3\xa9\n\n \n",
    ],
    ids=["no end", "lines", "windows", "spaces"],
)
def test_names_are_read_line_by_line(tmp_path: Path, content: bytes) -> None:
    assert read_class_names(names_file(tmp_path, content), 3) == (
        ("cat", "traffic light", "été"),
        [],
    )


def test_separators_inside_a_name_split_nothing(tmp_path: Path) -> None:
    content = "a\u2028b\nc\x0bd\n".encode()
    assert read_class_names(names_file(tmp_path, content), 2)[0] == ("a\u2028b", "c\x0bd")


def test_repeated_names_get_a_number(tmp_path: Path) -> None:
    names, renamed = read_class_names(names_file(tmp_path, b"N/A\ncat\nN/A\nN/A\n"), 4)
    assert names == ("N/A", "cat", "N/A 2", "N/A 3")
    assert renamed == ["N/A 2", "N/A 3"]


def test_number_of_a_repeated_name_is_free(tmp_path: Path) -> None:
    names, _ = read_class_names(names_file(tmp_path, b"dog\ndog\ndog 2\ndog\n"), 4)
    assert names == ("dog", "dog 3", "dog 2", "dog 4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\ndog\n", "2 names, but the head has 3 classes"),
        (b"a\nb\nc\nd\n", "4 names, but the head has 3 classes"),
        (b"", "0 names, but the head has 3 classes"),
        (b"\n\n", "0 names, but the head has 3 classes"),
        (b"cat\n\ndog\n", "line 2 is blank"),
        (b"\ncat\ndog\n", "line 1 is blank"),
        (b"\xff\xfec\x00", "not a text file in UTF-8"),
    ],
)
def test_unfit_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"classes\.txt: {message}"):
        read_class_names(names_file(tmp_path, content), 3)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"classes\.txt: no such file of class names"):
        read_class_names(tmp_path / "classes.txt", 3)
