from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import InputError
from service.errors import Undecodable
from service.offline.plan import Named, parts_of
from service.offline.sources import Category, loads, read_sources

COCO = {
    "images": [{"id": 7, "file_name": "a/1.jpg", "width": 4}, {"id": 3, "file_name": "2.jpg"}],
    "categories": [{"id": 5, "name": "RBC", "supercategory": "cell"}],
    "annotations": ["of no interest"],
}


def write_coco(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(COCO | changes))
    return path


def write_parquet(target: Path, rows: int | None = None, /, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), target, row_group_size=rows)
    return target


def read(*given: Path, images: Path | None = None) -> list[Named]:
    return list(read_sources(given, images)[0])


def test_files_keep_the_names_they_were_given_by(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("b.png", "a.jpg", "note.txt"):
        (tmp_path / "in" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert read(Path("in")) == [
        Named(1, "in/a.jpg", f"{tmp_path}/in/a.jpg"),
        Named(2, "in/b.png", f"{tmp_path}/in/b.png"),
    ]


def test_coco_json_gives_ids_names_and_categories(tmp_path):
    path = write_coco(tmp_path / "instances.json")
    pictures, categories = read_sources([path], None)
    assert list(pictures) == [
        Named(7, "a/1.jpg", f"{tmp_path}/a/1.jpg"),
        Named(3, "2.jpg", f"{tmp_path}/2.jpg"),
    ]
    assert categories == [Category(id=5, name="RBC")]
    assert read(path, images=Path("/pictures"))[1] == Named(3, "2.jpg", "/pictures/2.jpg")


def test_parquet_of_paths_is_a_list_of_files(tmp_path):
    first = write_parquet(tmp_path / "1.parquet", path=["a.jpg", "b.jpg"])
    second = write_parquet(tmp_path / "2.parquet", path=["/c.jpg"], size=[3])
    assert read(first, second, images=tmp_path) == [
        Named(1, "a.jpg", f"{tmp_path}/a.jpg"),
        Named(2, "b.jpg", f"{tmp_path}/b.jpg"),
        Named(3, "/c.jpg", "/c.jpg"),
    ]


def test_parquet_of_bytes_is_read_by_its_row_groups(tmp_path):
    path = write_parquet(tmp_path / "1.parquet", 2, path=["a", "b", "c"], bytes=[b"A", None, b"C"])
    pictures = read(path)
    assert pictures[2] == Named(3, "c", str(path), 1)
    parts = parts_of(pictures, 100)
    assert [[load() for load in loads(part)] for part in parts] == [[b"A", b""], [b"C"]]


def test_files_are_read_when_their_turn_comes(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"A")
    names = [Named(1, "a", f"{tmp_path}/a.jpg"), Named(2, "b", f"{tmp_path}/b.jpg")]
    found, missing = loads(next(parts_of(names, 2)))
    assert found() == b"A"
    with pytest.raises(Undecodable, match="can't be read \\(No such file or directory\\)"):
        missing()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": [{"id": "x", "file_name": "a"}]}, "images.0.id: Input should be a valid int"),
        ({"images": None}, "images: Input should be a valid array"),
        ({"categories": COCO["categories"] * 2}, "category id 5 is listed twice"),
    ],
)
def test_what_is_wrong_with_a_coco_json_is_said(tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        read(write_coco(tmp_path / "instances.json", **changes))


def test_what_is_wrong_with_parquet_is_said(tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"no\.parquet: no Parquet file"):
        read(tmp_path / "no.parquet")
    with pytest.raises(InputError, match="has no column 'path'; its columns are name, size"):
        read(write_parquet(tmp_path / "1.parquet", name=["a"], size=[1]))
    with pytest.raises(InputError, match="path is None; accepted is a text"):
        read(write_parquet(tmp_path / "2.parquet", path=["a", None]))


def test_sources_are_of_one_kind(tmp_path):
    coco = write_coco(tmp_path / "instances.json")
    parquet = write_parquet(tmp_path / "1.parquet", path=["a"])
    (tmp_path / "a.jpg").touch()
    for given in ([coco, parquet], [coco, coco], [parquet, tmp_path / "a.jpg"]):
        with pytest.raises(InputError, match="or one COCO JSON, or Parquet files"):
            read(*given)
    with pytest.raises(InputError, match="--images is for the names"):
        read(tmp_path / "a.jpg", images=tmp_path)
    with pytest.raises(InputError, match="no such picture or folder"):
        read(tmp_path / "nowhere.json")
