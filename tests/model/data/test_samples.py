"""The stream of samples: decided by seed and position alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image
from torch import Tensor

from model.criterion import Target
from model.data.augment import Augmentation
from model.data.drawn import drawn_scenes
from model.data.records import Record
from model.data.samples import LabelledPicture, SampleStream, epoch_of
from model.data.sources import DrawnSource
from model.errors import InputError
from model.letterbox import Canvas, canvases_of_scale, fill_canvas, letterbox

SIZE = (64, 96)
RULE = Augmentation(
    flips=("horizontal", "vertical", "transpose"), scale_jitter=(0.8, 1.3), colour=0.5
)


def source(count: int, repeat: int = 1, partial_below: dict[str, int] | None = None) -> DrawnSource:
    return DrawnSource(
        format="drawn", count=count, size=SIZE, repeat=repeat, partial_below=partial_below or {}
    )


def pictures(count: int) -> list[LabelledPicture]:
    drawn = source(count)
    return epoch_of([(drawn, drawn.open(None))])


def stream(count: int, seed: int = 3) -> SampleStream:
    return SampleStream(pictures(count), [Canvas(64, 96)], 64, RULE, seed)


def sample(stream: SampleStream, position: int) -> tuple[Tensor, Tensor, Target, str]:
    """Sample number `position` where every step has one image."""
    (draw,) = stream.draws(position, stream.plan(1).batch(position))
    return stream.sample(draw)


def labelled(*sizes: tuple[int, int]) -> list[LabelledPicture]:
    """Pictures of (height, width) that are never opened."""
    nothing = np.zeros((0, 4), np.float32)
    classes = np.zeros(0, np.int64)
    records = [Record(i, f"{i}.jpg", s, nothing, classes, nothing) for i, s in enumerate(sizes)]
    return [LabelledPicture(record, np.ones(1, np.bool_), 1.0) for record in records]


def test_sample_depends_on_its_position_alone() -> None:
    first, second = stream(3), stream(3)
    forwards = [sample(first, i) for i in range(7)]
    backwards = [sample(second, i) for i in reversed(range(7))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))
        assert one[3] == other[3]


def test_another_seed_gives_other_samples() -> None:
    assert not torch.equal(sample(stream(3, seed=3), 0)[0], sample(stream(3, seed=4), 0)[0])


def test_same_picture_is_augmented_differently_each_time() -> None:
    one = stream(1)
    assert not torch.equal(sample(one, 0)[0], sample(one, 1)[0])


def test_every_epoch_is_a_permutation_of_the_pictures() -> None:
    samples = stream(5)
    epochs = [[sample(samples, 5 * e + i)[3] for i in range(5)] for e in range(3)]
    names = {str((seed, SIZE)) for seed in range(5)}
    assert [set(epoch) for epoch in epochs] == [names] * 3
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_position_goes_on_from_step_to_step() -> None:
    one = stream(3)
    plan = one.plan(2)
    assert [d.position for step in (0, 1, 7) for d in one.draws(step, plan.batch(step))] == [
        *(0, 1),
        *(2, 3),
        *(14, 15),
    ]


def test_pictures_share_one_canvas_if_there_is_one() -> None:
    one = SampleStream(labelled((64, 96), (96, 64)), [Canvas(64, 96)], 64, RULE, 3)
    assert one.canvases == [Canvas(64, 96)]
    assert one.groups.tolist() == [0, 0]


def test_pictures_of_several_canvases_go_where_serving_puts_them() -> None:
    # Wide, 4:3, square and the two portraits of scale 96.
    canvases = canvases_of_scale(96)
    sizes = [(480, 800), (480, 640), (500, 500), (640, 480), (800, 480)]
    one = SampleStream(labelled(*sizes), canvases, 96, Augmentation(), 3)
    plan = one.plan(2)
    seen = {}
    for step in range(10):
        draws = one.draws(step, plan.batch(step))
        assert len({draw.canvas for draw in draws}) == 1
        seen.update({sizes[draw.picture]: draw.canvas for draw in draws})
    assert seen == {size: letterbox(size, 96, canvases).canvas for size in sizes}


def test_transposed_pictures_go_to_the_transposed_canvas() -> None:
    rule = Augmentation(flips=("transpose",))
    sizes = [(48, 64), (64, 48), (50, 50)]
    one = SampleStream(labelled(*sizes), canvases_of_scale(96), 96, rule, 3)
    assert one.canvases == [Canvas(96, 96), Canvas(96, 128)]
    assert one.groups.tolist() == [1, 1, 0]
    plan = one.plan(1)
    seen: dict[int, set[Canvas]] = {0: set(), 1: set(), 2: set()}
    for step in range(60):
        (draw,) = one.draws(step, plan.batch(step))
        seen[draw.picture].add(draw.canvas)
    both = {Canvas(96, 128), Canvas(128, 96)}
    assert seen == {0: both, 1: both, 2: {Canvas(96, 96)}}


@pytest.mark.parametrize("size", [(90, 150), (90, 120), (100, 100), (120, 90), (97, 131)])
def test_training_on_serving_canvases_sees_the_pixels_that_serving_sees(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    noise = default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (entry,) = labelled(size)
    entry = replace(entry, record=replace(entry.record, source=tmp_path / "a.png"))
    canvases = canvases_of_scale(64)
    one = SampleStream([entry], canvases, 64, Augmentation(flips=()), 3)
    image, image_size, _, _ = sample(one, 0)
    place = letterbox(size, 64, canvases)
    served = np.zeros((*place.canvas, 3), np.uint8)
    fill_canvas(Image.fromarray(noise), place, served)
    assert np.array_equal(image.numpy(), served)
    assert tuple(image_size.tolist()) == place.resized


def test_picture_fills_the_canvas_whichever_way_it_is_turned(tmp_path: Path) -> None:
    Image.new("RGB", (128, 96), "white").save(tmp_path / "a.png")
    (entry,) = labelled((96, 128))
    entry = replace(entry, record=replace(entry.record, source=tmp_path / "a.png"))
    rule = Augmentation(flips=("horizontal", "transpose"))
    one = SampleStream([entry], canvases_of_scale(96), 96, rule, 3)
    samples = [sample(one, position) for position in range(8)]
    assert {tuple(image.shape) for image, *_ in samples} == {(96, 128, 3), (128, 96, 3)}
    assert all(bool((image == 255).all()) for image, *_ in samples)


def test_source_is_repeated() -> None:
    drawn = source(2, repeat=3)
    assert [p.times for p in epoch_of([(drawn, drawn.open(None))])] == [3, 3]


def test_pictures_of_rare_classes_are_repeated_on_top() -> None:
    data = drawn_scenes(4, 0, SIZE)
    for i, classes in enumerate(([2], [1, 1], [1, 1], [1, 1])):
        boxes = np.ones((len(classes), 4), np.float32)
        data.records[i] = replace(data.records[i], boxes=boxes, classes=np.array(classes))
    # Class 2 is on a quarter of the pictures: sqrt(1 / .25) = 2; class 1 on three: sqrt(4 / 3).
    found = [p.times for p in epoch_of([(source(4, repeat=3), data)], rare_below=1.0)]
    assert found == pytest.approx([6.0, *[3.464102] * 3])


def test_class_with_few_boxes_counts_as_not_fully_labelled() -> None:
    data = drawn_scenes(1, 0, SIZE)
    red = int((data.records[0].classes == 1).sum())
    enough = epoch_of([(source(1, partial_below={"RBC": red}), data)])
    few = epoch_of([(source(1, partial_below={"RBC": red + 1}), data)])
    assert enough[0].complete.tolist() == [True, True, True]
    assert few[0].complete.tolist() == [True, False, True]


def test_partial_below_with_an_unknown_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"class 'RCB'.*accepted are Platelets, RBC, WBC"):
        epoch_of([(source(1, partial_below={"RCB": 6}), drawn_scenes(1, 0, SIZE))])


def test_epoch_without_pictures_is_refused() -> None:
    data = drawn_scenes(1, 0, SIZE)
    data.records.clear()
    with pytest.raises(InputError, match="no pictures to train on in drawn:0"):
        epoch_of([(source(1), data)])


def test_batch_stacks_images_and_keeps_targets_apart() -> None:
    samples = stream(2)
    draws = samples.draws(0, samples.plan(2).batch(0))
    batch = samples[draws]
    assert batch.images.shape == (2, 64, 96, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.image_sizes.dtype == torch.int64
    assert [t.boxes.dtype for t in batch.targets] == [torch.float32] * 2
    assert [t.classes.dtype for t in batch.targets] == [torch.int64] * 2
    assert batch.names == [samples.sample(draw)[3] for draw in draws]


def test_drawn_classes_follow_the_given_list() -> None:
    plain, moved = (
        drawn_scenes(1, 5, SIZE),
        drawn_scenes(1, 5, SIZE, ("WBC", "x", "RBC", "Platelets")),
    )
    assert np.array_equal(moved.records[0].classes, np.array([3, 2, 0])[plain.records[0].classes])


def test_drawn_scenes_need_their_classes() -> None:
    with pytest.raises(InputError, match="need the class 'Platelets'"):
        drawn_scenes(1, 5, SIZE, ("RBC", "WBC"))
