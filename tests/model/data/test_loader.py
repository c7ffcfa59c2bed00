"""The loader: shares of processes, workers, recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image

from model.data.augment import Augmentation
from model.data.loader import batches, stream_of
from model.data.records import Record
from model.data.samples import Batch, LabelledPicture, SampleStream
from model.errors import InputError
from model.letterbox import Canvas, canvases_of_scale
from model.recipe import Recipe

RULE = Augmentation(
    flips=("horizontal", "transpose"), scale_jitter=(0.8, 1.3), crop=0.5, colour=0.5
)


@pytest.fixture
def stream(tmp_path: Path) -> SampleStream:
    """Seven pictures with one box each, on the canvases of scale 64."""
    entries = []
    for i in range(7):
        width, height = 60 + 10 * i, 80
        noise = default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
        boxes, none = np.array([[10, 20, 50, 70]], np.float32), np.zeros((0, 4), np.float32)
        size, classes = (height, width), np.zeros(1, np.int64)
        record = Record(i, tmp_path / f"{i}.png", size, boxes, classes, none)
        entries.append(LabelledPicture(record, np.ones(1, bool), 1.0))
    return SampleStream(entries, canvases_of_scale(64), 64, RULE, 5)


def flat(loaded: list[Batch]) -> list[Any]:
    """The images of batches one by one, with everything that goes with them."""
    return [
        [image.tolist(), size.tolist(), name, *(part.tolist() for part in target)]
        for batch in loaded
        for image, size, target, name in zip(*batch, strict=True)
    ]


def test_processes_together_see_what_one_would(stream: SampleStream) -> None:
    (*alone,) = batches(stream, 2, 5, 4)
    (*first,) = batches(stream, 2, 5, 4, rank=0, world_size=2)
    (*second,) = batches(stream, 2, 5, 4, rank=1, world_size=2)
    pairs = [batch for pair in zip(first, second, strict=True) for batch in pair]
    assert [len(batch.names) for batch in pairs] == [2] * 6
    assert flat(pairs) == flat(alone)


def test_run_that_goes_on_sees_what_is_left(stream: SampleStream) -> None:
    whole = list(batches(stream, 0, 6, 2))
    assert flat(list(batches(stream, 4, 6, 2))) == flat(whole[4:])


@pytest.mark.slow
def test_workers_change_nothing(stream: SampleStream) -> None:
    assert flat(list(batches(stream, 0, 5, 2, workers=2))) == flat(list(batches(stream, 0, 5, 2)))


def test_torchs_random_state_is_left_alone(stream: SampleStream) -> None:
    before = torch.random.get_rng_state()
    assert len(list(batches(stream, 0, 2, 2))) == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_batch_that_cannot_be_shared_is_refused(stream: SampleStream) -> None:
    with pytest.raises(ValueError, match="batch_size 6: accepted are multiples of 4"):
        next(batches(stream, 0, 1, 6, rank=1, world_size=4))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_broken_picture_is_named_in_one_line(stream: SampleStream, workers: int) -> None:
    for entry in stream.pictures:
        entry.record.source.write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"^/.*\.png: not a picture that can be dec") as caught:
        next(batches(stream, 0, 1, 2, workers=workers))
    assert "\n" not in str(caught.value)


def recipe(train: dict[str, Any], rare_below: float = 0.0) -> Recipe:
    drawn = {"format": "drawn", "count": 2, "size": [64, 96]}
    data = {"train": [drawn], "rare_below": rare_below}
    return Recipe.model_validate({"name": "test", "data": data, "train": train})


def stream_by(recipe: Recipe) -> SampleStream:
    return stream_of(recipe, [(source, source.open(None)) for source in recipe.data.train])


def test_recipe_with_a_canvas_puts_all_there() -> None:
    one = stream_by(recipe({"canvas": "128x96", "scale": 96, "seed": 4}))
    assert (one.canvases, one.scale, one.seed) == ([Canvas(128, 96)], 96, 4)


def test_recipe_with_auto_puts_pictures_where_serving_does() -> None:
    # 64 x 96 pixels at scale 96: 96 x 144 on the wide canvas of 96 x 160.
    assert stream_by(recipe({"canvas": "auto", "scale": 96})).canvases == [Canvas(96, 160)]


def test_recipe_with_rare_below_repeats_pictures() -> None:
    rule = recipe({"scale": 96}, rare_below=0.5)
    (source,) = rule.data.train
    data = source.open(None)
    data.records[:] = [
        replace(data.records[0], boxes=np.ones((1, 4), np.float32), classes=np.array([label]))
        for label in (1, 1, 1, 2)
    ]
    # One picture in four shows class 2: sqrt(.5 / .25).
    times = [entry.times for entry in stream_of(rule, [(source, data)]).pictures]
    assert times == pytest.approx([1, 1, 1, 2**0.5])
