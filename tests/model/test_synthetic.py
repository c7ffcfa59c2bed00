"""Drawn scenes: the boxes are where the cells are, and the same seed draws the same scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.errors import InputError
from model.synthetic.classes import PLATELET, RED, WHITE
from model.synthetic.dataset import scene_seed, write_scenes
from model.synthetic.look import Look, draw_look
from model.synthetic.outline import Outline, draw_outline
from model.synthetic.patch import Patch, mask_box
from model.synthetic.placement import PlacedCell, place_cells
from model.synthetic.platelet import PlateletStain, outline_platelet
from model.synthetic.red_cell import RedStain, outline_red_cell
from model.synthetic.scene import CLASS_NAMES, Scene, draw_scene, paint_cell
from model.synthetic.white_cell import KINDS, Kind, WhiteStain, outline_white_cell

SMALL = (96, 128)
STAIN = (0.3, 0.6, 0.3)


def test_class_names_are_in_the_order_of_the_category_ids() -> None:
    assert CLASS_NAMES == ("Platelets", "RBC", "WBC")
    assert (PLATELET, RED, WHITE) == (0, 1, 2)


def test_scene_is_the_same_for_the_same_seed() -> None:
    first, second = draw_scene(7, SMALL), draw_scene(7, SMALL)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.class_indices, second.class_indices)


def test_scene_differs_for_another_seed() -> None:
    first, second = draw_scene(7, SMALL), draw_scene(8, SMALL)
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.boxes, second.boxes)


def test_scene_takes_nothing_from_the_global_random_state() -> None:
    first = draw_scene(3, SMALL)
    np.random.seed(0)  # noqa: NPY002 - the global state is what must not matter
    assert np.array_equal(draw_scene(3, SMALL).image, first.image)


@pytest.mark.parametrize(
    ("seed", "size"), [(0, (64, 64)), (1, (65, 203)), (2, (301, 97)), (3, (240, 320))]
)
def test_scene_has_the_promised_types_and_valid_boxes(seed: int, size: tuple[int, int]) -> None:
    scene = draw_scene(seed, size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    count = len(scene.class_indices)
    assert count > 3
    assert scene.boxes.shape == (count, 4)
    assert scene.boxes.dtype == np.float32
    assert scene.class_indices.shape == (count,)
    assert scene.class_indices.dtype == np.int64
    assert set(scene.class_indices.tolist()) <= {0, 1, 2}
    left, top, right, bottom = scene.boxes.T
    assert min(left.min(), top.min()) >= 0
    assert right.max() <= size[1]
    assert bottom.max() <= size[0]
    assert min((right - left).min(), (bottom - top).min()) >= 1


@pytest.mark.parametrize("size", [(63, 640), (480, 10), (0, 0), (-480, 640)])
def test_too_small_size_is_refused_and_named(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"{size[0]}x{size[1]}.*from 64 pixels"):
        draw_scene(0, size)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed -1: accepted are whole numbers from 0"):
        draw_scene(-1, SMALL)


def test_share_leaves_out_cells_and_moves_none() -> None:
    whole, sparse = (draw_scene(3, SMALL, share) for share in (1.0, 0.4))
    kept = {tuple(box) for box in sparse.boxes.tolist()}
    assert kept < {tuple(box) for box in whole.boxes.tolist()}
    assert kept


def test_share_of_nothing_is_an_empty_scene() -> None:
    scene = draw_scene(3, SMALL, share=0.0)
    assert scene.boxes.shape == (0, 4)
    assert scene.image.shape == (*SMALL, 3)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"accepted are 0 to 1"):
        draw_scene(3, SMALL, share)


def test_circle_has_the_box_of_a_circle() -> None:
    # Centre (100, 80), diameter 60; whole pixels, so half a pixel either way.
    assert _mask_box(_circle(100, 80, 60), (200, 300)) == pytest.approx((70, 50, 130, 110), abs=0.5)


def test_circle_over_the_left_border_has_the_box_of_its_visible_part() -> None:
    assert _mask_box(_circle(5, 100, 60), (200, 300)) == pytest.approx((0, 70, 35, 130), abs=0.5)


def test_circle_over_a_corner_has_the_box_of_its_visible_part() -> None:
    # It cuts the border where 12^2 + (12 + x)^2 = 30^2, not where its own box ends (18).
    box = _mask_box(_circle(-12, -12, 60), (200, 300))
    assert box == pytest.approx((0, 0, 15.5, 15.5), abs=0.5)


def test_mask_without_pixels_has_no_box() -> None:
    window = _circle(50, 50, 20).window((100, 100))
    with pytest.raises(ValueError, match="covers no pixel"):
        mask_box(np.zeros(window.shape, dtype=np.bool_), window)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["red", "platelet", *KINDS])
def test_box_is_where_a_single_cell_changes_the_picture(name: str, seed: int) -> None:
    patch = _draw_alone(name, seed)
    density = np.zeros((3, 300, 300), dtype=np.float32)
    patch.lay_over(density)
    # One grey level of 255 darker; the bright line around a cell is not part of it.
    darker = (255 * np.exp(-density) < 254).any(axis=0)
    rows, columns = np.nonzero(darker)
    measured = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    # 1.5 px: the edge is up to 2 px wide and half of it lies outside the outline.
    assert patch.box == pytest.approx(measured, abs=1.5)


def test_cell_sizes_scale_with_the_picture() -> None:
    large = np.concatenate([_whole_red_sides(draw_scene(seed, (480, 640))) for seed in range(6)])
    small = np.concatenate([_whole_red_sides(draw_scene(seed, (240, 320))) for seed in range(6)])
    assert 70 < np.median(large) < 140
    # 0.03: cells land elsewhere, so their random sizes differ.
    assert np.median(small) / np.median(large) == pytest.approx(0.5, abs=0.03)


def test_stain_lies_inside_boxes_and_plasma_outside() -> None:
    # Seed 6 has even light and little debris. Boxes 15 px off leave 5 % of the plasma stained.
    scene = draw_scene(6)
    green = scene.image[..., 1].astype(np.float32)
    inside = np.zeros(green.shape, dtype=np.bool_)
    for left, top, right, bottom in scene.boxes.astype(int):
        inside[top:bottom, left:right] = True
    stained = green < np.median(green[~inside]) - 20
    assert stained[inside].mean() > 0.3
    assert stained[~inside].mean() < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_every_placed_cell_can_be_seen(seed: int) -> None:
    size = (240, 320)
    rng = np.random.default_rng(seed)
    cells = place_cells(rng, size, draw_look(rng, 240))
    masks = [_polygon_mask(cell, size) for cell in cells]
    assert len(masks) > 3
    # Polygon filling counts pixels on the outline, so both limits get 0.05 of slack.
    for index, (cell, mask) in enumerate(zip(cells, masks, strict=True)):
        assert mask.sum() > (0.25 - 0.05) * cell.outline.area
        above = np.zeros(size, dtype=np.bool_)
        for later in masks[index + 1 :]:
            above |= later
        assert (mask & ~above).sum() > (0.3 - 0.05) * mask.sum()


def test_written_json_matches_the_scenes(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "drawn", count=2, seed=11, size=SMALL)
    assert path == tmp_path / "drawn" / "annotations.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["categories"] == [
        {"id": 1, "name": "Platelets"},
        {"id": 2, "name": "RBC"},
        {"id": 3, "name": "WBC"},
    ]
    assert document["images"] == [
        {"id": 1, "file_name": "drawn_00000.jpg", "width": 128, "height": 96},
        {"id": 2, "file_name": "drawn_00001.jpg", "width": 128, "height": 96},
    ]
    rows = document["annotations"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    for index in range(2):
        scene = draw_scene(scene_seed(11, index), SMALL)
        own = [row for row in rows if row["image_id"] == index + 1]
        assert [row["category_id"] - 1 for row in own] == scene.class_indices.tolist()
        for row, (left, top, right, bottom) in zip(own, scene.boxes.tolist(), strict=True):
            assert row["bbox"] == [left, top, right - left, bottom - top]
            assert row["area"] == (right - left) * (bottom - top)
            assert row["iscrowd"] == 0


def test_written_images_show_the_scenes(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=2, seed=11, size=SMALL)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["drawn_00000.jpg", "drawn_00001.jpg"]
    for index, name in enumerate(names):
        with Image.open(tmp_path / "images" / name) as image:
            written = np.asarray(image.convert("RGB"), dtype=np.float32)
        # 6 grey levels: what JPEG at quality 92 loses of noise; another scene is off by 20.
        assert np.abs(written - draw_scene(scene_seed(11, index), SMALL).image).mean() < 6


def test_larger_count_continues_a_smaller_one(tmp_path: Path) -> None:
    write_scenes(tmp_path / "one", count=1, seed=4, size=SMALL)
    write_scenes(tmp_path / "two", count=2, seed=4, size=SMALL)
    one, two = (tmp_path / name / "images" / "drawn_00000.jpg" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_kill_while_the_json_is_written_leaves_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An older JSON would be wrong too: its images have been drawn over.
    path = write_scenes(tmp_path, count=1, seed=4, size=SMALL)

    def write_half(self: Path, text: str, **_: object) -> int:
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, count=1, seed=5, size=SMALL)
    assert not path.exists()


def test_kill_while_an_image_is_written_leaves_no_half_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Image.Image.save

    def save_half(image: Image.Image, target: Any, *args: Any, **options: Any) -> None:
        if not isinstance(target, Path):  # The renderer's own JPEG artefacts, in memory.
            return save(image, target, *args, **options)
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, count=1, seed=4, size=SMALL)
    assert not list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize(
    ("count", "quality", "message"),
    [
        (0, 92, "count 0: accepted are whole numbers from 1"),
        (1, 0, "quality 0: accepted are whole numbers from 1 to 100"),
        (1, 101, "quality 101: accepted are whole numbers from 1 to 100"),
    ],
)
def test_bad_count_or_quality_is_refused_before_anything_is_written(
    tmp_path: Path, count: int, quality: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_scenes(tmp_path / "drawn", count, seed=0, size=SMALL, quality=quality)
    assert not (tmp_path / "drawn").exists()


def _circle(x: float, y: float, diameter: float) -> Outline:
    return draw_outline(np.random.default_rng(0), (x, y), diameter, roughness=0.0)


def _mask_box(outline: Outline, size: tuple[int, int]) -> tuple[float, float, float, float]:
    window = outline.window(size)
    return mask_box(outline.trace(window).inside, window)


def _draw_alone(name: str, seed: int) -> Patch:
    """One cell in the middle of 300x300 pixels, with a strong stain and a sharp edge."""
    rng = np.random.default_rng(seed)
    centre = (150.3, 149.6)
    kind: Kind | None = next((known for known in KINDS if known == name), None)
    if kind is not None:
        class_index, outline = WHITE, outline_white_cell(rng, centre, 150.0, kind)
    elif name == "red":
        class_index, outline = RED, outline_red_cell(rng, centre, 100.0)
    else:
        class_index, outline = PLATELET, outline_platelet(rng, centre, 40.0)
    window = outline.window((300, 300))
    trace = outline.trace(window)
    cell = PlacedCell(class_index, kind, outline, window, trace, trace.inside)
    return paint_cell(rng, cell, _sharp_look())


def _sharp_look() -> Look:
    return Look(
        glow=(200.0, 200.0, 200.0),
        uneven=0.0,
        red_diameter=100.0,
        red_count=1,
        white_count=0,
        platelet_count=0,
        debris_count=0,
        crowding=0.0,
        red=RedStain(STAIN, STAIN, 1.0, brownness=0.5, pallor=0.3, softness_px=1.0, hides=0.5),
        white=WhiteStain(STAIN, STAIN, STAIN, STAIN, STAIN, softness_px=1.0),
        platelet=PlateletStain(STAIN, STAIN, 1.0, softness_px=1.0),
        blur_px=0.0,
        fringe_px=0.0,
        noise=0.0,
        jpeg_quality=0,
    )


def _whole_red_sides(scene: Scene) -> NDArray[np.float32]:
    """Mean box sides of the red cells that no border cuts."""
    height, width = scene.image.shape[:2]
    left, top, right, bottom = scene.boxes.T
    whole = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    whole &= scene.class_indices == RED
    sides: NDArray[np.float32] = ((right - left + bottom - top) / 2)[whole]
    return sides


def _polygon_mask(cell: PlacedCell, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The cell's mask by Pillow's polygon filling, apart from the renderer's own."""
    turns = np.arange(len(cell.outline.radii)) * 2 * np.pi / len(cell.outline.radii)
    x = cell.outline.x + cell.outline.radii * np.cos(turns) - 0.5
    y = cell.outline.y + cell.outline.radii * np.sin(turns) - 0.5
    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=1)
    return np.asarray(canvas, dtype=np.bool_)
