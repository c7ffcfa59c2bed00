"""Runs on a cluster of Ray: what is killed, and that each picture is found once all the same."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq
import pytest
from PIL import Image

from model.synthetic.dataset import write_scenes
from tests.service.started import ROOT

pytestmark = pytest.mark.slow

PATIENCE_S = 90.0
"""What starting Ray may take on a machine that has much else to do."""

HELD = ("held_1.png", "held_2.png")
"""Pictures whose bytes come when the test lets them: whoever reads them waits."""


class Cluster:
    """See `ray_cluster`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()

    def end_a_machine(self) -> None:
        """Ends one of the two machines without a warning."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ended\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.offline.ray_cluster"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        yield Cluster(process)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With in/: ten drawn scenes, two pictures that are held, and a broken one."""
    write_scenes(tmp_path / "drawn", count=12, seed=5, size=(96, 128))
    scenes = sorted((tmp_path / "drawn" / "images").iterdir())
    pictures = tmp_path / "in"
    pictures.mkdir()
    for number, scene in enumerate(scenes[:10]):
        scene.rename(pictures / f"scene_{number}.jpg")
    for name, scene in zip(HELD, scenes[10:], strict=True):
        Image.open(scene).save(tmp_path / name)
        os.mkfifo(pictures / name)
    (pictures / "broken.png").write_bytes((tmp_path / HELD[0]).read_bytes()[:60])
    return tmp_path


def pictures_in(folder: Path) -> list[str]:
    """In parts of two: first two that are done at once, then two with one that is held."""
    names = ["scene_0.jpg", "scene_1.jpg", "scene_2.jpg", HELD[0], "scene_3.jpg", HELD[1]]
    names += ["broken.png", *(f"scene_{number}.jpg" for number in range(4, 10))]
    return [str(folder / "in" / name) for name in names]


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "retinaserve", "detect", *pictures_in(folder), *words]


def on_cluster(folder: Path, cluster: Cluster) -> list[str]:
    words = ["--ray", cluster.address, "--out", str(folder / "out"), "--part-images", "2"]
    return command(folder, *words)


@contextmanager
def running(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def writer_of(pipe: Path) -> IO[bytes]:
    """The end to write to, as soon as somebody reads."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
        except OSError:
            assert time.monotonic() < end, f"nobody reads {pipe}"
            time.sleep(0.05)


def lost(pipes: Sequence[IO[bytes]], patience_s: float = PATIENCE_S) -> list[IO[bytes]]:
    """Those that nobody reads any more, as soon as there is one."""
    poll = select.poll()
    by_number = {pipe.fileno(): pipe for pipe in pipes}
    for number in by_number:
        poll.register(number, select.POLLERR)
    return [by_number[number] for number, _ in poll.poll(patience_s * 1000)]


def let_go(folder: Path, name: str) -> None:
    """Whoever opens the picture from now on reads it."""
    whole = folder / "in" / f"{name}.whole"
    whole.write_bytes((folder / name).read_bytes())
    whole.replace(folder / "in" / name)


def written(path: Path) -> tuple[int, int]:
    """What is another one when a file is written anew."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def check_results(folder: Path) -> None:
    """Each picture is there once, with what a run without Ray finds, to the bit."""
    expected = subprocess.run(
        command(folder, "--json", str(folder / "one.json")), cwd=ROOT, check=False
    )
    assert expected.returncode == 1  # the broken one
    one = json.loads((folder / "one.json").read_text())
    files = sorted((folder / "out").glob("detections/part-*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(files) == 7
    assert [row["image_id"] for row in rows] == list(range(1, 14))
    for row, answer in zip(rows, one, strict=True):
        for member in ("file", "image", "scale", "detections", "problem"):
            assert row[member] == answer.get(member), row["file"]
    assert sum(len(row["detections"] or ()) for row in rows) > 100
    coco = json.loads((folder / "out" / "coco.json").read_text())
    assert len(coco["images"]) == 12
    assert len(coco["annotations"]) == sum(len(row["detections"] or ()) for row in rows)


def test_a_run_that_is_killed_goes_on_where_it_was(folder, cluster):
    words = on_cluster(folder, cluster)
    with running(words) as driver:
        # Both machines work, each on a part with a picture that does not come.
        pipes = [writer_of(folder / "in" / name) for name in HELD]
        driver.kill()
        driver.wait()
    for pipe in pipes:
        assert lost([pipe]), "its worker goes on after the run was killed"
        pipe.close()
    assert not (folder / "out" / "coco.json").exists()
    done = {path: written(path) for path in (folder / "out").glob("detections/part-*.parquet")}
    assert folder / "out" / "detections" / "part-000000.parquet" in done
    assert len(done) < 7
    for name in HELD:
        let_go(folder, name)
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert "1 of them could not be read" in again.stderr
    assert {path: written(path) for path in done} == done
    check_results(folder)


def test_parts_of_a_machine_that_is_lost_are_done_by_another(folder, cluster):
    with running(on_cluster(folder, cluster)) as driver:
        pipes = {writer_of(folder / "in" / name): name for name in HELD}
        cluster.end_a_machine()
        (gone,) = lost(list(pipes))
        for pipe, name in pipes.items():
            let_go(folder, name)
            with pipe:
                if pipe is not gone:
                    os.set_blocking(pipe.fileno(), True)
                    pipe.write((folder / name).read_bytes())
        _, said = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 1, said
    check_results(folder)
