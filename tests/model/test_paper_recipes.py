"""The recipes of the paper's experiments: each row of its tables has one, with its numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model.recipe import Recipe
from model.recipe_file import read_recipe

FOLDER = Path(__file__).parents[2] / "model" / "recipes" / "paper"
RECIPES = {
    path.stem: read_recipe(path)
    for path in sorted(FOLDER.glob("*.toml"))
    if not path.stem.startswith("base")
}

# Copied from the paper by hand, row by row: AP, AP50, AP75.
PRINTED = {
    "Table 1a": {
        "1a-alpha-0.10": (0.0, 0.0, 0.0),
        "1a-alpha-0.25": (10.8, 16.0, 11.7),
        "1a-alpha-0.50": (30.2, 46.7, 32.8),
        "1a-alpha-0.75": (31.1, 49.4, 33.0),
        "1a-alpha-0.90": (30.8, 49.7, 32.3),
        "1a-alpha-0.99": (28.7, 47.4, 29.9),
        "1a-alpha-0.999": (25.1, 41.7, 26.1),
    },
    "Table 1b": {
        "1b-gamma-0": (31.1, 49.4, 33.0),
        "1b-gamma-0.1": (31.4, 49.9, 33.1),
        "1b-gamma-0.2": (31.9, 50.7, 33.4),
        "1b-gamma-0.5": (32.9, 51.7, 35.2),
        "1b-gamma-1.0": (33.7, 52.0, 36.2),
        "1b-gamma-2.0": (34.0, 52.5, 36.5),
        "1b-gamma-5.0": (32.2, 49.6, 34.8),
    },
    "Table 1c": {
        "1c-scales-1-ratios-1": (30.3, 49.0, 31.8),
        "1c-scales-2-ratios-1": (31.9, 50.0, 34.0),
        "1c-scales-3-ratios-1": (31.8, 49.4, 33.7),
        "1c-scales-1-ratios-3": (32.4, 52.3, 33.9),
        "1c-scales-2-ratios-3": (34.2, 53.1, 36.5),
        "1c-scales-3-ratios-3": (34.0, 52.5, 36.5),
        "1c-scales-4-ratios-3": (33.8, 52.1, 36.2),
    },
    "Table 1d": {
        "1d-ohem-128-nms-0.7": (31.1, 47.2, 33.2),
        "1d-ohem-256-nms-0.7": (31.8, 48.8, 33.9),
        "1d-ohem-512-nms-0.7": (30.6, 47.0, 32.6),
        "1d-ohem-128-nms-0.5": (32.8, 50.3, 35.1),
        "1d-ohem-256-nms-0.5": (31.0, 47.4, 33.0),
        "1d-ohem-512-nms-0.5": (27.6, 42.0, 29.2),
        "1d-ohem-1-3-128-nms-0.5": (31.1, 47.2, 33.2),
        "1d-ohem-1-3-256-nms-0.5": (28.3, 42.4, 30.3),
        "1d-ohem-1-3-512-nms-0.5": (24.0, 35.5, 25.8),
        "1d-focal": (36.0, 54.9, 38.7),
    },
    "Table 1e, on test-dev": {
        "1e-r50-400": (30.5, 47.8, 32.7),
        "1e-r50-500": (32.5, 50.9, 34.8),
        "1e-r50-600": (34.3, 53.2, 36.9),
        "1e-r50-700": (35.1, 54.2, 37.7),
        "1e-r50-800": (35.7, 55.0, 38.5),
        "1e-r101-400": (31.9, 49.5, 34.1),
        "1e-r101-500": (34.4, 53.1, 36.8),
        "1e-r101-600": (36.0, 55.2, 38.7),
        "1e-r101-700": (37.1, 56.6, 39.8),
        "1e-r101-800": (37.8, 57.5, 40.8),
    },
    "Table 2, on test-dev": {
        "2-r101-800": (39.1, 59.1, 42.3),
        "2-x101-800": (40.8, 61.1, 44.1),
    },
    "Table 3": {
        "3-ce": (31.1, 49.4, 33.0),
        "3-focal": (34.0, 52.5, 36.5),
        "3-focal-star-2-1": (33.8, 52.7, 36.3),
        "3-focal-star-4-0": (33.9, 51.8, 36.4),
    },
}


def test_every_row_of_the_tables_has_a_recipe_and_no_recipe_is_without_a_row() -> None:
    assert set(RECIPES) == {name for rows in PRINTED.values() for name in rows}


@pytest.mark.parametrize("name", RECIPES)
def test_paper_recipe_expects_what_the_paper_prints(name: str) -> None:
    expect = RECIPES[name].expect
    assert expect is not None
    assert (expect.AP, expect.AP50, expect.AP75) == PRINTED[expect.source][name]


@pytest.mark.parametrize("name", RECIPES)
def test_paper_recipe_is_named_as_its_file(name: str) -> None:
    assert RECIPES[name].name == name


@pytest.mark.parametrize("name", RECIPES)
def test_readme_states_the_expected_ap(name: str) -> None:
    rows = (FOLDER / "README.md").read_text(encoding="utf-8")
    expect = RECIPES[name].expect
    assert expect is not None
    assert f"| {name} | {expect.AP} | {expect.AP50} | {expect.AP75} | {expect.source} |\n" in rows


def test_paper_recipes_train_as_section_4_1_says() -> None:
    for name, recipe in RECIPES.items():
        optimizer = recipe.optimizer
        assert (optimizer.name, optimizer.lr, optimizer.lr_for) == ("sgd", 0.01, 16), name
        assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4), name
        steps = 135_000 if name.startswith("2-") else 90_000
        assert (recipe.train.steps, recipe.train.batch_size) == (steps, 16), name
        cuts = [round(steps * share) for share in optimizer.milestones]
        assert cuts == ([90_000, 120_000] if name.startswith("2-") else [60_000, 80_000]), name
        assert recipe.augment.flips == ("horizontal",), name
        assert (recipe.model.prior, recipe.model.head_width, recipe.model.head_depth) == (
            0.01,
            256,
            4,
        ), name


def test_paper_recipes_train_and_choose_on_different_pictures() -> None:
    for recipe in RECIPES.values():
        (source,) = recipe.data.train
        assert recipe.data.val is not None
        assert source.annotations.name == "instances_train2017.json"  # type: ignore[union-attr]
        assert recipe.data.val.annotations.name == "instances_val2017.json"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "alpha"), [(name, float(name.rpartition("-")[2])) for name in PRINTED["Table 1a"]]
)
def test_recipe_of_table_1a_varies_alpha_of_cross_entropy(name: str, alpha: float) -> None:
    assert _loss(name) == ("balanced_cross_entropy", alpha)


@pytest.mark.parametrize(
    ("gamma", "alpha"),
    [
        ("0", 0.75),
        ("0.1", 0.75),
        ("0.2", 0.75),
        ("0.5", 0.5),
        ("1.0", 0.25),
        ("2.0", 0.25),
        ("5.0", 0.25),
    ],
)
def test_recipe_of_table_1b_has_the_best_alpha_of_its_gamma(gamma: str, alpha: float) -> None:
    assert _loss(f"1b-gamma-{gamma}") == ("focal", alpha)
    assert RECIPES[f"1b-gamma-{gamma}"].loss.gamma == float(gamma)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("1c-scales-1-ratios-1", [(32.0, 32.0)]),
        ("1c-scales-2-ratios-1", [(32.0, 32.0), (45.2548, 45.2548)]),
        ("1c-scales-3-ratios-1", [(32.0, 32.0), (40.3175, 40.3175), (50.7968, 50.7968)]),
        ("1c-scales-1-ratios-3", [(45.2548, 22.6274), (32.0, 32.0), (22.6274, 45.2548)]),
    ],
)
def test_recipe_of_table_1c_has_these_anchors_on_p3(
    name: str, shapes: list[tuple[float, float]]
) -> None:
    found = RECIPES[name].model.anchors.shapes(0)
    assert [pytest.approx(shape, abs=1e-4) for shape in shapes] == found


def test_recipes_of_table_1c_have_6_9_and_12_anchors_a_location() -> None:
    dense = {scales: RECIPES[f"1c-scales-{scales}-ratios-3"].model.anchors for scales in (2, 3, 4)}
    assert [spec.per_location for spec in dense.values()] == [6, 9, 12]
    for scales, spec in dense.items():
        assert spec.scales == pytest.approx([2 ** (k / scales) for k in range(scales)])


def test_recipes_of_table_1d_mine_with_resnet_101() -> None:
    for name in PRINTED["Table 1d"]:
        recipe = RECIPES[name]
        assert recipe.model.backbone == "resnet101"
        words = re.fullmatch(r"1d-ohem(-1-3)?-(\d+)-nms-(.*)", name)
        if words is None:
            assert (recipe.loss.classes, recipe.loss.mining) == ("focal", None)
            continue
        mining = recipe.loss.mining
        assert mining is not None
        assert recipe.loss.classes == "cross_entropy"
        assert mining.method == ("ohem_1_3" if words[1] else "ohem")
        assert (mining.batch_size, mining.nms) == (int(words[2]), float(words[3]))


def test_recipes_of_table_1e_vary_depth_and_scale() -> None:
    for name in PRINTED["Table 1e, on test-dev"]:
        _, depth, scale = name.split("-")
        assert RECIPES[name].model.backbone == depth.replace("r", "resnet")
        assert RECIPES[name].train.scale == int(scale)


def test_recipes_of_table_2_jitter_the_scale_of_800() -> None:
    backbones = {"2-r101-800": "resnet101", "2-x101-800": "resnext101_32x8d"}
    for name, backbone in backbones.items():
        recipe = RECIPES[name]
        assert (recipe.model.backbone, recipe.train.scale) == (backbone, 800)
        assert recipe.augment.scale_jitter == (0.8, 1.0)


@pytest.mark.parametrize(
    ("name", "gamma", "shift"), [("3-focal-star-2-1", 2.0, 1.0), ("3-focal-star-4-0", 4.0, 0.0)]
)
def test_recipe_of_table_3_has_gamma_and_beta(name: str, gamma: float, shift: float) -> None:
    loss = RECIPES[name].loss
    assert (loss.classes, loss.gamma, loss.shift, loss.alpha) == ("focal_star", gamma, shift, 0.25)


def test_paper_recipe_is_found_by_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("paper/1b-gamma-2.0")) == RECIPES["1b-gamma-2.0"]


def test_file_of_ones_own_goes_before_a_paper_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("paper/1b-gamma-2.0")
    own.parent.mkdir()
    own.write_text('name = "own"\n[[data.train]]\nformat = "drawn"\ncount = 1\n')
    assert read_recipe(own).name == "own"


def _loss(name: str) -> tuple[str, float]:
    recipe: Recipe = RECIPES[name]
    return recipe.loss.classes, recipe.loss.alpha
