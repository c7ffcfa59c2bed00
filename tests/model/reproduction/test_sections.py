"""The pages of a reproduction, from runs that a stand-in makes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import model.reproduction.study as study_module
from model.checkpoint import Checkpoint, save_checkpoint
from model.recipe import Recipe
from model.reproduction import initialisation
from model.reproduction.initialisation import FirstLosses
from model.reproduction.sections import SECTIONS, write_section
from model.reproduction.study import FOCAL, Setting
from model.retinanet import Architecture, RetinaNet
from model.synthetic.classes import CLASS_NAMES

GAIN = {"focal": 0.04, "focal_star": 0.03, "balanced_cross_entropy": 0.02, "cross_entropy": 0.0}
"""AP over .3, by the loss."""


def fake_train(recipe: Recipe, out: Path, *rest: Any) -> Checkpoint:
    """A checkpoint of random weights that claims an AP by its loss and seed."""
    torch.manual_seed(0)
    section = recipe.model
    architecture = Architecture(3, section.backbone, 16, 1, section.prior, section.anchors)
    ap = 0.3 + GAIN[recipe.loss.classes] + 0.001 * recipe.train.seed
    checkpoint = Checkpoint(
        architecture,
        CLASS_NAMES,
        RetinaNet(architecture).state_dict() if recipe.name == FOCAL else {},
        recipe.model_dump(mode="json"),
        metrics={"val": {"AP": ap, "AP50": 2 * ap, "AP75": ap / 2}},
    )
    out.mkdir(parents=True, exist_ok=True)
    if (recipe.name, recipe.train.seed) == (FOCAL, 0):  # the one whose weights are looked at
        save_checkpoint(out / "best.pt", checkpoint)
    (out / "last.pt").touch()
    (out / "log.jsonl").write_text(json.dumps({"step": 1, "class_loss": 2.0}) + "\n")
    return checkpoint


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("reproduction")
    setting = Setting(out=out, scale=64, pictures=(2, 2), seeds=2)
    first = FirstLosses(900, 10, {("CE", 0.5): 9.0, ("FL", 0.01): 1.25})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "train", fake_train)
        patch.setattr(initialisation, "first_losses", lambda *args: first)
        paths = {name: write_section(name, setting, lambda sentence: None) for name in SECTIONS}
    assert all(path.parent == out for path in paths.values())
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    for name, text in texts.items():
        for picture in re.findall(r"\]\((.*?\.svg)\)", text):
            assert (out / picture).read_text(encoding="utf-8").startswith("<?xml"), (name, picture)
    return texts


def test_losses_compare_with_the_paper(pages: dict[str, str]) -> None:
    page = pages["losses"]
    # Two seeds: .340 and .341; .320 and .321. The standard deviation of each pair is .07 points.
    assert "| 2.0 | 0.25 | 34.0 ± 0.1 | 68.1 ± 0.1 | 17.0 ± 0.0 | 2 | 34.0 |\n" in page
    assert "| 0.99 | 32.0 | 64.0 | 16.0 | 1 | 28.7 |\n" in page
    assert "Focal loss, gamma 2, over balanced CE, alpha .75: +2.0 ± 0.1 points" in page


def test_mining_is_compared_with_the_focal_loss(pages: dict[str, str]) -> None:
    page = pages["ohem"]
    assert "| OHEM 1:3 | 512 | 0.5 | 30.0 | 60.0 | 15.0 | 1 | 24.0 |\n" in page
    assert "| FL | n/a | n/a | 34.0 ± 0.1 | 68.1 ± 0.1 | 17.0 ± 0.0 | 2 | 36.0 |\n" in page


def test_anchors_go_from_1_to_12(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| \d \| \d \| (\d+) \| .* \| (.*) \|$", pages["anchors"], re.M)
    assert rows == [
        ("1", "30.3"),
        ("2", "31.9"),
        ("3", "31.8"),
        ("3", "32.4"),
        ("6", "34.2"),
        ("9", "34.0"),
        ("12", "33.8"),
    ]


def test_focal_star_is_judged_by_the_worst_run_of_the_focal_loss(pages: dict[str, str]) -> None:
    page = pages["focal-star"]
    assert "| 4 | 0 | 33.0 | 66.0 | 16.5 | no |\n" in page
    assert "at least the lowest AP of the 2 runs of FL, 34.0" in page


def test_scales_have_a_row_each(pages: dict[str, str]) -> None:
    assert re.findall(r"^\| (\d+) \| 34.0 \|", pages["scales"], re.M) == [
        "32",
        "64",
        "64",
        "64",
        "96",
    ]


def test_initialisation_shows_the_first_losses(pages: dict[str, str]) -> None:
    page = pages["initialisation"]
    assert "| CE | 0.5 | 9.00 |\n" in page
    assert "| AdamW, gentle | FL | 0.01 | 2 | 2 | AP 34.0 |\n" in page


def test_figures_count_their_examples(pages: dict[str, str]) -> None:
    assert re.search(r"on the 2 pictures of val: \d+ positives, [\d,]+ negatives", pages["figures"])


def test_every_page_says_what_was_run(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "2 pictures to train, 2 to measure, 3 classes" in page
        assert "mobilenet_v2 with random weights" in page
        assert re.search(r"Time: \d+ runs; \d+\.\d minutes", page)
