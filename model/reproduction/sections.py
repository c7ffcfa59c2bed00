"""The sections of a reproduction, each a page of Markdown with its plots beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from model.data.records import DataSet
from model.files import whole_file
from model.machine import cpu_name
from model.reproduction.ablations import anchors, focal_star, losses, ohem
from model.reproduction.figures import figures
from model.reproduction.initialisation import initialisation
from model.reproduction.scenes import imbalance_of
from model.reproduction.study import FOCAL, Say, Setting, Study
from model.reproduction.trade_off import scales

SECTIONS: dict[str, Callable[[Study, Path], str]] = {
    "initialisation": initialisation,
    "losses": losses,
    "ohem": ohem,
    "anchors": anchors,
    "scales": scales,
    "focal-star": focal_star,
    "figures": figures,
}


def write_section(name: str, setting: Setting, say: Say) -> Path:
    """Runs a section and writes its page, OUT/<name>.md; the runs it needs are kept."""
    study = Study(setting, say)
    text = SECTIONS[name](study, setting.out)
    path = setting.out / f"{name}.md"
    with whole_file(path) as part:
        part.write_text(f"# {name}\n\n{text}\n{_what_was_run(study)}", encoding="utf-8")
    return path


def _what_was_run(study: Study) -> str:
    """On what, and of the runs at which size and how long they took."""
    assert study.data.val is not None
    train, val = (source.open(None) for source in (study.data.train[0], study.data.val))
    facts = {
        "Data": f"{study.setting.data or 'drawn scenes'}: {len(train.records)} pictures to train, "
        f"{len(val.records)} to measure, {len(train.classes)} classes"
    }
    if study.used:
        facts |= _of_runs(study, val)
    return "\n".join(f"* {name}: {text}." for name, text in facts.items()) + "\n"


def _of_runs(study: Study, val: DataSet) -> dict[str, str]:
    setting, recipe = study.setting, study.recipe(FOCAL)
    model, optimizer = recipe.model, recipe.optimizer
    ratio = imbalance_of(val.records, setting.scale, model.anchors, recipe.matching)
    timed = [outcome.seconds for outcome in study.used.values() if outcome.seconds is not None]
    weights = "ImageNet weights" if setting.backbone_weights else "random weights"
    device = cpu_name() if setting.device == "cpu" else torch.cuda.get_device_name()
    return {
        "Imbalance": f"of a picture {ratio.boxes:.1f} boxes, {ratio.anchors:,.0f} anchors, "
        f"{ratio.positives:.1f} of them with a box: {ratio.background_per_positive:,.0f} of "
        "background for each",
        "Detector": f"{model.backbone} with {weights}, heads of depth {model.head_depth} and width "
        f"{model.head_width}, scale {setting.scale}",
        "Training": f"unless said otherwise {setting.steps} steps of {setting.batch_size} "
        f"pictures, {optimizer.name} at {optimizer.lr:g}; the weights of the last step",
        "Machine": f"{device}, {torch.get_num_threads()} threads, {os.cpu_count()} processors; "
        f"torch {torch.__version__}",
        "Time": f"{len(study.used)} runs; {sum(timed) / 60:.1f} minutes for the {len(timed)} that "
        "nothing interrupted",
    }
