"""The `[loss]` section: what it accepts and how it refuses."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from model.errors import InputError
from model.losses.boxes import BOX_LOSSES
from model.losses.mining import Mining
from model.losses.rule import CLASS_LOSSES, LossRule

CLASSES = "cross_entropy, balanced_cross_entropy, focal, focal_star, hinge, quality_focal"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "ce"}, f"loss classes 'ce': accepted are {CLASSES}"),
        ({"box": "iou"}, "loss box 'iou': accepted are smooth_l1, l1, giou"),
        ({"normaliser": "sum"}, "loss normaliser 'sum': accepted are batch, image"),
        ({"gamma": -1.0}, "loss gamma -1.0: accepted are 0.0 to 5.0"),
        ({"gamma": math.nan}, "loss gamma nan"),
        ({"alpha": -0.5}, "loss alpha -0.5: accepted are 0 to 1, or -1 for no balance"),
        ({"alpha": 1.5}, "loss alpha 1.5"),
        ({"beta": -0.1}, "loss beta -0.1"),
        ({"box_weight": -1.0}, "loss box_weight -1.0"),
        (
            {"classes": "balanced_cross_entropy", "alpha": -1.0},
            "loss alpha -1 leaves balanced_cross_entropy without balance: "
            "accepted are 0 to 1, or classes = 'cross_entropy'",
        ),
        (
            {"classes": "focal_star", "gamma": 0.0},
            "loss gamma 0: focal_star divides by it, accepted are above 0 to 5",
        ),
        ({"shift": 1.0}, "loss shift 1.0 with focal: only focal_star has one; leave it out"),
        ({"margin": 0.9}, "loss margin 0.9 with focal: only hinge has one; leave it out"),
        (
            {"classes": "quality_focal", "mining": Mining()},
            "loss mining with quality_focal",
        ),
    ],
)
def test_bad_rule_names_the_field_and_what_is_accepted(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        LossRule(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "random"}, "mining method 'random': accepted are ohem, ohem_1_3"),
        ({"batch_size": 3}, "mining batch_size 3: accepted are numbers from 4"),
        ({"nms": 1.5}, "mining nms 1.5: accepted are 0 to 1"),
    ],
)
def test_bad_mining_names_the_field_and_what_is_accepted(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Mining(**change)  # type: ignore[arg-type]


def test_default_is_the_focal_loss_of_the_paper() -> None:
    rule = LossRule()
    assert (rule.classes, rule.alpha, rule.gamma) == ("focal", 0.25, 2.0)
    assert (rule.box, rule.beta, rule.box_weight) == ("smooth_l1", 1.0, 1.0)


def test_flat_section_of_a_recipe_is_read() -> None:
    rule = TypeAdapter(LossRule).validate_python(
        {"classes": "cross_entropy", "mining": {"method": "ohem_1_3", "batch_size": 512}}
    )
    assert rule == LossRule(
        classes="cross_entropy", mining=Mining(method="ohem_1_3", batch_size=512, nms=0.5)
    )


def test_sections_in_the_docs_are_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs" / "losses.md").read_text(encoding="utf-8")
    sections = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", page, re.S)]
    rules = [TypeAdapter(LossRule).validate_python(section["loss"]) for section in sections]
    assert [rule.classes for rule in rules] == ["focal_star", "cross_entropy", "focal"]
    rows = re.findall(r"^\| `([a-z0-9_]+)`", page, re.M)
    assert set(rows) - {"classes", "box"} == {*CLASS_LOSSES, *BOX_LOSSES}
