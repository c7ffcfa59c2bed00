"""Augmentation: boxes measured from the pixels of a painted rectangle."""

from __future__ import annotations

import zlib
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
    ("seed", "crc", "size", "boxes", "ignored"),
    [
        (1, 3940984564, (64, 96), [[20.56, 0.83, 52.89, 55.0]], [[63.67, 0.0, 96.0, 22.5]]),
        (
            2,
            3390821737,
            (64, 71),
            [[15.78, 0.0, 39.44, 24.5], [3.94, 40.33, 69.42, 64.0]],
            [[47.33, 0.0, 71.0, 0.75]],
        ),
        (
            3,
            2282049441,
            (64, 51),
            [[22.67, 2.67, 39.67, 31.0], [1.13, 42.33, 48.17, 63.87]],
            [[0.0, 0.0, 17.0, 14.0]],
        ),
    ],
)
def test_samples_without_crop_are_those_of_the_first_release(
    seed: int,
    crc: int,
    size: tuple[int, int],
    boxes: list[list[float]],
    ignored: list[list[float]],
) -> None:
    y, x = np.mgrid[0:90, 0:120]
    picture = Image.fromarray(np.stack([2 * x, 2 * y, x * y % 256], -1).astype(np.uint8))
    found = augmented(
        picture,
        np.array([[10, 20, 60, 50], [80, 5, 118, 88]], np.float32),
        np.array([1, 0]),
        np.array([[0, 60, 30, 90]], np.float32),
        Canvas(64, 96),
        64,
        Augmentation(
            flips=("horizontal", "vertical", "transpose"), scale_jitter=(0.5, 2.0), colour=0.5
        ),
        default_rng([7, 1, seed]),
    )
    assert zlib.crc32(found.image.tobytes()) == crc
    assert found.image_size == size
    assert found.boxes == pytest.approx(np.array(boxes), abs=0.01)
    assert found.ignored == pytest.approx(np.array(ignored), abs=0.01)


CROP = Augmentation(flips=(), crop=1.0)


@pytest.mark.parametrize("seed", range(30))
def test_crop_holds_the_centre_of_a_box_on_its_pixels(seed: int) -> None:
    found = augment((20, 60, 40, 80), (120, 90), Canvas(96, 128), 96, CROP, default_rng(seed))
    assert len(found.boxes) + len(found.ignored) == 1
    (box,) = np.concatenate([found.boxes, found.ignored])
    assert np.abs(box - measured(found.image)).max() <= 1.0
    # The centre is inside, so a quarter of the box is, whole pixels apart; and the window is 30 %
    # of the area or more, so the box is enlarged 1 / sqrt(.3) times at most on top of 96 / 90.
    assert 9 <= min(box[2:] - box[:2]) <= max(box[2:] - box[:2]) <= 20 * 96 / 90 * 0.3**-0.5 * 1.2


def test_crop_is_fitted_into_the_canvas_whole() -> None:
    sizes = set()
    for seed in range(40):
        found = augment((20, 60, 40, 80), (120, 90), Canvas(96, 128), 96, CROP, default_rng(seed))
        height, width = found.image_size
        # One of the sides fills the canvas, or the shorter one is of the scale.
        assert height == 96 or width == 128 or min(height, width) == 96
        sizes.add(found.image_size)
    assert len(sizes) > 10


def test_crop_of_a_picture_without_boxes_lies_anywhere() -> None:
    y, x = np.mgrid[0:90, 0:120]
    picture = Image.fromarray(np.stack([x, y, x], -1).astype(np.uint8))
    corners = set()
    for seed in range(20):
        found = augmented(
            picture,
            NO_BOXES,
            np.zeros(0, np.int64),
            NO_BOXES,
            Canvas(96, 128),
            96,
            CROP,
            default_rng(seed),
        )
        assert found.boxes.shape == (0, 4)
        corners.add(tuple(found.image[0, 0, :2].tolist()))
    assert len(corners) > 10


def test_crop_happens_as_often_as_it_is_asked_for() -> None:
    rule = Augmentation(flips=(), crop=0.25)
    plain = augment((20, 60, 40, 80), (120, 90), Canvas(96, 128), 96, Augmentation(flips=()))
    same = [
        np.array_equal(
            augment((20, 60, 40, 80), (120, 90), Canvas(96, 128), 96, rule, default_rng(s)).image,
            plain.image,
        )
        for s in range(100)
    ]
    # Of 100 fair draws at .75, 75 +- 13 is three deviations.
    assert 62 <= sum(same) <= 88


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 2)])
def test_crop_of_a_tiny_picture_is_a_picture(size: tuple[int, int]) -> None:
    for seed in range(10):
        box = (0, 0, size[0], size[1])
        found = augment(box, size, Canvas(32, 32), 32, CROP, default_rng(seed))
        assert min(found.image_size) >= 1
        assert len(found.boxes) + len(found.ignored) == 1


@pytest.mark.parametrize(("turned", "size"), [(True, (64, 48)), (False, (48, 64))])
def test_canvas_may_decide_about_the_transposition(turned: bool, size: tuple[int, int]) -> None:
    rule = Augmentation(flips=("transpose",))
    for seed in range(5):
        found = augmented(
            Image.new("RGB", (64, 48)),
            NO_BOXES,
            np.zeros(0, np.int64),
            NO_BOXES,
            Canvas(64, 64),
            48,
            rule,
            default_rng(seed),
            turned,
        )
        assert found.image_size == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 1.5}, "crop 1.5: accepted are 0 to 1"),
        ({"scale_jitter": (2.0, 1.0)}, "scale_jitter"),
        ({"scale_jitter": (0.0, 1.0)}, "scale_jitter"),
        ({"colour": 1.5}, "colour 1.5: accepted are 0 to 1"),
        ({"least_visible": -0.1}, "least_visible -0.1: accepted are 0 to 1"),
    ],
)
def test_bad_rule_names_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**change)
