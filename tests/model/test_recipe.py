"""Recipes: every wrong key is named, with what is accepted."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from model.errors import InputError
from model.recipe import Recipe
from model.recipe_file import parse_recipe, read_recipe

RECIPE = """
name = "tiny"
[[data.train]]
format = "drawn"
count = 2
[data.val]
format = "coco"
annotations = "val.json"
images = "images"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(RECIPE)
    return file


def test_defaults_are_those_of_the_paper(path: Path) -> None:
    recipe = read_recipe(path)
    optimizer, train = recipe.optimizer, recipe.train
    assert (optimizer.name, optimizer.lr, optimizer.momentum) == ("sgd", 0.01, 0.9)
    assert optimizer.weight_decay == 1e-4
    assert (train.steps, train.batch_size) == (90_000, 16)
    assert [round(share * 90_000) for share in optimizer.milestones] == [60_000, 80_000]
    assert (recipe.loss.gamma, recipe.loss.alpha) == (2.0, 0.25)
    assert (recipe.loss.box, recipe.loss.beta) == ("smooth_l1", 1.0)
    assert recipe.augment.flips == ("horizontal",)
    assert (recipe.model.prior, recipe.model.head_width, recipe.model.head_depth) == (0.01, 256, 4)


def test_recipe_survives_json(path: Path) -> None:
    recipe = read_recipe(path)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_bundled_recipe_is_valid() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "cells.toml")
    assert recipe.classes == ("Platelets", "RBC", "WBC")


@pytest.mark.parametrize(
    ("override", "key", "accepted"),
    [
        ("stepz=1", "unknown key stepz", "augment, classes, data, expect, loss"),
        ("train.stepz=1", "unknown key train.stepz", "batch_size, canvas"),
        ("loss.gama=1", "unknown key loss.gama", "alpha, beta, box, box_weight, classes"),
        ("model.anchors.size=1", "unknown key model.anchors.size", "accepted are offset, ratios"),
        ("loss.mining.methd=1", "unknown key loss.mining.methd", "batch_size, method, nms"),
        ("expect={source='x', AP=1, ap=1}", "unknown key expect.ap", "AP, AP50, AP75, source"),
        ("matching.low=1", "unknown key matching.low", "background, foreground"),
        ("augment.flip=1", "unknown key augment.flip", "colour, crop, flips"),
        ("data.test=1", "unknown key data.test", "accepted are rare_below, train, val"),
        ("data.train.0.cout=1", "unknown key data.train.0.cout", "count, format, partial_below"),
        ("data.val.bad_box=1", "unknown key data.val.bad_box", "annotations, bad_boxes, format"),
    ],
)
def test_unknown_key_is_named_with_what_is_accepted(
    path: Path, override: str, key: str, accepted: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(path, [override])
    assert key in str(caught.value)
    assert accepted in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=0", "train.steps: .*greater than or equal to 1"),
        ("train.steps=many", "train.steps: .*integer"),
        ("train.canvas=481x640", "train: canvas 481x640: sides must be multiples of 32"),
        ("train.precision=fp64", "train.precision: .*'fp32', 'bf16' or 'fp16'"),
        ("optimizer.name=adam", "optimizer.name: .*'sgd' or 'adamw'"),
        ("optimizer.lr_for=0", "optimizer.lr_for: .*greater than or equal to 1"),
        ("model.norm=batch", "model.norm: .*'frozen', 'trained' or 'sync'"),
        ("model.frozen_stages=6", "model.frozen_stages: .*less than or equal to 5"),
        ("data.rare_below=2", "data.rare_below: .*less than or equal to 1"),
        ("optimizer.lr=inf", "optimizer.lr: .*finite"),
        ("loss.gamma=9.0", "loss: loss gamma 9.0: accepted are 0.0 to 5.0"),
        ("loss.box=iou", "loss: loss box 'iou': accepted are"),
        ("augment.flips=['diagonal']", "augment.flips.0: .*'horizontal', 'vertical'"),
        ("model.anchors.sizes=[1.0]", "model.anchors: anchor sizes"),
        ("data.train=[]", "data.train: .*at least 1"),
        ("data.train.0.format=yolo", "data.train.0: .*'coco', 'voc', 'drawn'"),
        ("data.train.0.size=[8, 64]", "data.train.0.size.0: .*64"),
        ("classes=['a', 'a']", "classes .*distinct"),
        ("classes=[]", "classes .*one or more"),
        ("name='../x'", "name: .*pattern"),
    ],
)
def test_bad_value_is_named(path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=r"tiny\.toml: " + message):
        read_recipe(path, [override])


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.steps=7", lambda r: r.train.steps == 7),
        ("train.canvas=96x128", lambda r: r.train.canvas == "96x128"),
        ("loss.gamma = 1.5", lambda r: r.loss.gamma == 1.5),
        ("data.train.0.count=9", lambda r: r.data.train[0].count == 9),
        ("augment.flips=[]", lambda r: r.augment.flips == ()),
        ("classes=['RBC']", lambda r: r.classes == ("RBC",)),
    ],
)
def test_override_changes_one_value(path: Path, override: str, read: Any) -> None:
    assert not read(read_recipe(path))
    assert read(read_recipe(path, [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("name.first=3", "name is a value, not a section"),
        ("data.train.1.count=3", r"1 is not one of the places 0\.\.0"),
        ("data.train.x.count=3", r"x is not one of the places 0\.\.0"),
        ("data.train.5=3", r"5 is not one of the places"),
    ],
)
def test_override_that_leads_nowhere_is_named(path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--set '{override}': {message}"):
        read_recipe(path, [override])


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such recipe file"):
        read_recipe(tmp_path / "none.toml")


def test_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(InputError, match=r"bad\.toml: not a TOML file"):
        read_recipe(tmp_path / "bad.toml")


def test_missing_section_is_named() -> None:
    with pytest.raises(InputError, match="here: data: Field required"):
        parse_recipe({"name": "x"}, "here")


def test_base_gives_what_the_recipe_does_not_say(path: Path) -> None:
    sub = path.parent / "sub"
    sub.mkdir()
    (sub / "child.toml").write_text(
        'base = "../tiny.toml"\nname = "child"\n[train]\nsteps = 3\n'
        '[[data.train]]\nformat = "drawn"\ncount = 9\n'
    )
    (sub / "grandchild.toml").write_text('base = "child.toml"\n[train]\nscale = 320\n')
    recipe = read_recipe(sub / "grandchild.toml", ["train.seed=4"])
    assert recipe.name == "child"
    assert (recipe.train.steps, recipe.train.scale, recipe.train.seed) == (3, 320, 4)
    # A list is replaced, what stands beside it stays.
    assert [source.count for source in recipe.data.train if source.format == "drawn"] == [9]
    assert recipe.data.val == read_recipe(path).data.val


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"none.toml"', r"none\.toml: no such recipe file"),
        ('"child.toml"', r"child\.toml: its `base` leads back to itself"),
        ("3", "base 3: give the name of another recipe file"),
    ],
)
def test_base_that_leads_nowhere_is_named(tmp_path: Path, base: str, message: str) -> None:
    (tmp_path / "child.toml").write_text(f"base = {base}\n")
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path / "child.toml")


def keys_of(node: dict[str, Any], definitions: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Every dotted key that a JSON schema accepts, with its default."""
    while "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    found: dict[str, Any] = {}
    of_list = [node["items"]] if "items" in node else []
    for option in (*node.get("anyOf", []), *node.get("oneOf", []), *of_list):
        found |= keys_of(option, definitions, prefix)
    for name, below in node.get("properties", {}).items():
        key = f"{prefix}{name}"
        found |= keys_of(below, definitions, f"{key}.") or {key: below.get("default")}
    return found


def test_documentation_has_every_key_and_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    table = page.split("## Every key of a recipe")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (?:`(.*?)`)? ?\| .*\|$", table, re.M))
    assert rows.pop("base") == ""
    schema = Recipe.model_json_schema()
    known = keys_of(schema, schema["$defs"], "")
    assert rows.keys() == {key for key in known if not key.startswith("data.val.")}
    for key, default in rows.items():
        stated = tomllib.loads(f"v = {default}")["v"] if default else None
        if key == "optimizer.milestones":
            assert stated == pytest.approx(known[key], abs=1e-3)
        else:
            assert stated == known[key], key
