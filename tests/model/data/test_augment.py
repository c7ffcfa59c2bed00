"""Augmentation: boxes measured from the pixels of a painted rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.data.augment import Augmentation, Flip, Sample, augmented
from model.errors import InputError
from model.letterbox import Canvas

NO_BOXES = np.zeros((0, 4), np.float32)


class Heads(Generator):
    """A generator whose every coin says yes."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return 0.0


def painted(box: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A black picture of (width, height) with a white rectangle that fills an xyxy box."""
    image = Image.new("RGB", size)
    ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill="white")
    return image


def measured(image: NDArray[np.uint8]) -> list[int]:
    """The xyxy box of the pixels that are more white than black."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def augment(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    canvas: Canvas,
    scale: int,
    rule: Augmentation,
    random: Generator | None = None,
) -> Sample:
    return augmented(
        painted(box, size),
        np.array([box], np.float32),
        np.array([4], np.int64),
        NO_BOXES,
        canvas,
        scale,
        rule,
        random or default_rng(0),
    )


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        ((), [10, 5, 20, 12]),
        (("horizontal",), [44, 5, 54, 12]),
        (("vertical",), [10, 36, 20, 43]),
        (("transpose",), [5, 10, 12, 20]),
        # x -> 64 - x, y -> 48 - y, then swapped.
        (("horizontal", "vertical", "transpose"), [36, 44, 43, 54]),
    ],
)
def test_flips_move_box_and_pixels_alike(flips: Sequence[Flip], expected: list[int]) -> None:
    rule = Augmentation(flips=tuple(flips))
    found = augment((10, 5, 20, 12), (64, 48), Canvas(64, 64), 48, rule, Heads())
    assert measured(found.image) == expected
    assert found.boxes.tolist() == [expected]
    assert found.image_size == ((64, 48) if "transpose" in flips else (48, 64))


def test_eight_symmetries_all_happen() -> None:
    rule = Augmentation(flips=("horizontal", "vertical", "transpose"))
    seen = {
        tuple(augment((3, 5, 10, 7), (32, 32), Canvas(32, 32), 32, rule, default_rng(s)).boxes[0])
        for s in range(60)
    }
    assert len(seen) == 8


@pytest.mark.parametrize("seed", range(10))
def test_jitter_and_crop_keep_the_box_on_its_pixels(seed: int) -> None:
    rule = Augmentation(flips=("horizontal", "transpose"), scale_jitter=(0.5, 2.5))
    random = default_rng(seed)
    found = augment((70, 50, 130, 100), (200, 150), Canvas(128, 160), 128, rule, random)
    boxes = np.concatenate([found.boxes, found.ignored])
    assert len(boxes) <= 1
    if len(boxes):
        # A pixel counts as white from half its light on, and edges are blurred when enlarging.
        assert np.abs(boxes[0] - measured(found.image)).max() <= 1.0
    else:
        assert not (found.image > 200).any()


def test_box_of_a_crop_is_clipped_or_ignored_or_gone() -> None:
    rule = Augmentation(flips=(), scale_jitter=(2.0, 2.0), least_visible=0.5)
    outcomes = set()
    for seed in range(40):
        found = augment((4, 4, 14, 14), (64, 64), Canvas(64, 64), 64, rule, default_rng(seed))
        assert len(found.boxes) + len(found.ignored) <= 1
        for boxes, least, most in ((found.boxes, 0.5, 1.0), (found.ignored, 0.0, 0.5)):
            for x1, y1, x2, y2 in boxes.tolist():
                # The box is 20 x 20 after doubling.
                visible = (x2 - x1) * (y2 - y1) / 400
                assert least <= visible <= most
                assert 0 <= x1 < x2 <= 64
                assert 0 <= y1 < y2 <= 64
        outcomes.add((len(found.boxes), len(found.ignored)))
    assert outcomes == {(1, 0), (0, 1), (0, 0)}


def test_box_outside_the_crop_is_never_trained_on_even_if_any_share_will_do() -> None:
    rule = Augmentation(flips=(), scale_jitter=(4.0, 4.0), least_visible=0.0)
    for seed in range(20):
        found = augment((0, 0, 8, 8), (64, 64), Canvas(64, 64), 64, rule, default_rng(seed))
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_smaller_picture_lies_at_the_top_left_on_black() -> None:
    rule = Augmentation(flips=(), scale_jitter=(0.5, 0.5))
    found = augment((0, 0, 64, 64), (64, 64), Canvas(64, 96), 64, rule)
    assert found.image_size == (32, 32)
    assert (found.image[:32, :32] == 255).all()
    assert found.image.sum() == 32 * 32 * 3 * 255


def test_ignored_regions_go_along() -> None:
    found = augmented(
        painted((10, 5, 20, 12), (64, 48)),
        NO_BOXES,
        np.zeros(0, np.int64),
        np.array([[10, 5, 20, 12]], np.float32),
        Canvas(64, 64),
        48,
        Augmentation(),
        Heads(),
    )
    assert found.ignored.tolist() == [[44, 5, 54, 12]]
    assert found.boxes.shape == (0, 4)


def test_classes_stay_with_their_boxes() -> None:
    found = augment((10, 5, 20, 12), (64, 48), Canvas(64, 64), 48, Augmentation(), Heads())
    assert found.classes.tolist() == [4]


@pytest.mark.parametrize(("colour", "same"), [(0.0, True), (1.0, False)])
def test_colour_changes_pixels_unless_it_is_zero(colour: float, same: bool) -> None:
    found = augmented(
        Image.new("RGB", (48, 32), (90, 120, 150)),
        NO_BOXES,
        np.zeros(0, np.int64),
        NO_BOXES,
        Canvas(32, 64),
        32,
        Augmentation(flips=(), colour=colour),
        default_rng(0),
    )
    assert (found.image[0, 0].tolist() == [90, 120, 150]) is same
    assert found.image[:, 48:].sum() == 0


def test_callers_boxes_are_left_alone() -> None:
    boxes = np.array([[10, 5, 20, 12]], np.float32)
    before = boxes.copy()
    picture = painted((10, 5, 20, 12), (64, 48))
    classes = np.zeros(1, np.int64)
    augmented(picture, boxes, classes, NO_BOXES, Canvas(64, 64), 48, Augmentation(), Heads())
    assert np.array_equal(boxes, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_jitter": (2.0, 1.0)}, "scale_jitter"),
        ({"scale_jitter": (0.0, 1.0)}, "scale_jitter"),
        ({"colour": 1.5}, "colour 1.5: accepted are 0 to 1"),
        ({"least_visible": -0.1}, "least_visible -0.1: accepted are 0 to 1"),
    ],
)
def test_bad_rule_names_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**change)
