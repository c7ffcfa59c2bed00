"""The stream of samples: decided by seed and position alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.data.augment import Augmentation
from model.data.drawn import drawn_scenes
from model.data.samples import BatchPositions, LabelledPicture, SampleStream, collate, epoch_of
from model.data.sources import DrawnSource
from model.errors import InputError
from model.letterbox import Canvas

SIZE = (64, 96)
RULE = Augmentation(
    flips=("horizontal", "vertical", "transpose"), scale_jitter=(0.8, 1.3), colour=0.5
)


def source(count: int, repeat: int = 1, partial_below: dict[str, int] | None = None) -> DrawnSource:
    return DrawnSource(
        format="drawn", count=count, size=SIZE, repeat=repeat, partial_below=partial_below or {}
    )


def pictures(count: int, repeat: int = 1) -> list[LabelledPicture]:
    drawn = source(count, repeat)
    return epoch_of([(drawn, drawn.open(None))])


def stream(count: int, seed: int = 3) -> SampleStream:
    return SampleStream(pictures(count), Canvas(64, 96), 64, RULE, seed)


def test_sample_depends_on_its_position_alone() -> None:
    first, second = stream(3), stream(3)
    forwards = [first[i] for i in range(7)]
    backwards = [second[i] for i in reversed(range(7))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))
        assert one[3] == other[3]


def test_another_seed_gives_other_samples() -> None:
    assert not torch.equal(stream(3, seed=3)[0][0], stream(3, seed=4)[0][0])


def test_same_picture_is_augmented_differently_each_time() -> None:
    one = stream(1)
    assert not torch.equal(one[0][0], one[1][0])


def test_every_epoch_is_a_permutation_of_the_pictures() -> None:
    samples = stream(5)
    epochs = [[samples[5 * e + i][3] for i in range(5)] for e in range(3)]
    names = {str((seed, SIZE)) for seed in range(5)}
    assert [set(epoch) for epoch in epochs] == [names] * 3
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_repeated_source_appears_as_often_in_an_epoch() -> None:
    assert [p.record.image_id for p in pictures(2, repeat=3)] == [1, 1, 1, 2, 2, 2]


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


def test_batches_go_on_from_a_step() -> None:
    positions = BatchPositions(2, 4, 3)
    assert list(positions) == [[6, 7, 8], [9, 10, 11]]
    assert len(positions) == 2


def test_batch_stacks_images_and_keeps_targets_apart() -> None:
    samples = stream(2)
    batch = collate([samples[0], samples[1]])
    assert batch.images.shape == (2, 64, 96, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.image_sizes.dtype == torch.int64
    assert [t.boxes.dtype for t in batch.targets] == [torch.float32] * 2
    assert [t.classes.dtype for t in batch.targets] == [torch.int64] * 2
    assert batch.names == [samples[0][3], samples[1][3]]


def test_drawn_classes_follow_the_given_list() -> None:
    plain, moved = (
        drawn_scenes(1, 5, SIZE),
        drawn_scenes(1, 5, SIZE, ("WBC", "x", "RBC", "Platelets")),
    )
    assert np.array_equal(moved.records[0].classes, np.array([3, 2, 0])[plain.records[0].classes])


def test_drawn_scenes_need_their_classes() -> None:
    with pytest.raises(InputError, match="need the class 'Platelets'"):
        drawn_scenes(1, 5, SIZE, ("RBC", "WBC"))
