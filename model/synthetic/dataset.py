"""A folder of drawn scenes with their boxes as COCO JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from model.errors import InputError
from model.files import whole_file
from model.synthetic.scene import CLASS_NAMES, Scene, check_scene, draw_scene


class _Annotation(TypedDict):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int


def write_scenes(
    folder: Path,
    count: int,
    seed: int,
    size: tuple[int, int] = (480, 640),
    quality: int = 92,
    share: float = 1.0,
) -> Path:
    """The path of the COCO JSON of `count` scenes written under `folder`, each with `share` of
    its cells.

    Images are `folder/images/drawn_00000.jpg` and so on, at JPEG `quality`; the JSON is
    `folder/annotations.json`, with category ids 1..3 in class index order. Every file is
    written under a temporary name and renamed; an old JSON goes first and the new one comes
    last, so if it is there, all is there.
    Scene i is drawn from a seed that depends on `seed` and i alone, so a larger `count`
    continues a smaller one.
    Errors: InputError for a count below 1, a quality outside 1..100, a negative seed, a side
    below 64 or a share outside 0..1.
    """
    if count < 1:
        raise InputError(f"scene count {count}: accepted are whole numbers from 1")
    if not 1 <= quality <= 100:
        raise InputError(f"JPEG quality {quality}: accepted are whole numbers from 1 to 100")
    check_scene(seed, size, share)
    images_folder = folder / "images"
    images_folder.mkdir(parents=True, exist_ok=True)
    path = folder / "annotations.json"
    path.unlink(missing_ok=True)
    images: list[dict[str, int | str]] = []
    annotations: list[_Annotation] = []
    for index in range(count):
        scene = draw_scene(scene_seed(seed, index), size, share)
        name = f"drawn_{index:05d}.jpg"
        _write_jpeg(scene, images_folder / name, quality)
        images.append({"id": index + 1, "file_name": name, "width": size[1], "height": size[0]})
        annotations.extend(_annotations(scene, index + 1, len(annotations) + 1))
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    with whole_file(path) as part:
        part.write_text(json.dumps(document), encoding="utf-8")
    return path


def scene_seed(seed: int, index: int) -> int:
    """The seed of scene `index` of a set; sets of different `seed` share no scene."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0])


def _write_jpeg(scene: Scene, path: Path, quality: int) -> None:
    with whole_file(path) as part:
        Image.fromarray(scene.image).save(part, "JPEG", quality=quality)


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[_Annotation]:
    rows: list[_Annotation] = []
    for box, class_index in zip(scene.boxes.tolist(), scene.class_indices.tolist(), strict=True):
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        rows.append(
            {
                "id": first_id + len(rows),
                "image_id": image_id,
                "category_id": class_index + 1,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    return rows
