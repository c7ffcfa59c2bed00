"""Tiny runs on drawn scenes, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model.recipe import Recipe
from model.recipe_file import parse_recipe

DRAWN = {"format": "drawn", "count": 3, "seed": 1, "size": [96, 128]}


def recipe(train: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    """A tiny network on three drawn scenes, every kind of random change on."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "model": {"backbone": "mobilenet_v2", "head_width": 16, "head_depth": 1},
        "data": {"train": [DRAWN]},
        "augment": {
            "flips": ["horizontal", "transpose"],
            "scale_jitter": [0.8, 1.2],
            "colour": 0.3,
        },
        "optimizer": {"name": "adamw", "lr": 1e-3, "warmup_steps": 2, "schedule": "cosine"},
        "train": {
            "steps": 6,
            "batch_size": 2,
            "scale": 96,
            "canvas": "96x128",
            "workers": 0,
            "checkpoint_every": 2,
            "evaluate_every": 2,
            "ema_decay": 0.9,
            **(train or {}),
        },
    }
    return parse_recipe({**raw, **sections}, "test")


def quiet(sentence: str) -> None:
    """Where tests don't look at what a run says."""


def log(out: Path) -> list[dict[str, Any]]:
    """A run's log without what depends on the machine's speed."""
    lines = (out / "log.jsonl").read_text().splitlines()
    timed = ("images_per_s", "wait_share")
    return [
        {key: value for key, value in json.loads(line).items() if key not in timed}
        for line in lines
    ]


def flat(value: Any) -> list[Any]:
    """Every leaf of nested dicts and lists."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [leaf for entry in value for leaf in flat(entry)]
    return [value]


def assert_same(one: Any, other: Any) -> None:
    """Bitwise equality of two checkpoints' contents."""
    for a, b in zip(flat(one), flat(other), strict=True):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        else:
            assert a == b


def coco_with(folder: Path, boxes: list[list[float]], pictures: int = 1) -> dict[str, Any]:
    """A COCO source of 128x96 pictures of cats; the boxes are in the first, a.png."""
    (folder / "images").mkdir()
    names = [f"{letter}.png" for letter in "abcd"[:pictures]]
    for number, name in enumerate(names):
        Image.new("RGB", (128, 96), (40 * number, 80, 120)).save(folder / "images" / name)
    labels = {
        "images": [
            {"id": number, "file_name": name, "width": 128, "height": 96}
            for number, name in enumerate(names, 1)
        ],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    return {
        "format": "coco",
        "annotations": str(folder / "labels.json"),
        "images": str(folder / "images"),
        "bad_boxes": "drop",
    }
