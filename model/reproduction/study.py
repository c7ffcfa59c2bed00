"""Small runs of the paper's experiments: each is trained once and kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from model.data.sources import CocoSource
from model.errors import InputError
from model.files import alone, whole_file
from model.recipe import DataSection, ModelSection, OptimizerSection, Recipe, TrainSection
from model.recipe_file import BUNDLED, read_recipe
from model.reproduction.scenes import sparse_scenes
from model.training.ends import TrainingStopped
from model.training.loop import train
from model.training.state import LAST

PAPER = BUNDLED / "paper"
"""The recipes of the paper's tables."""

ANCHOR_FACTOR = 0.5
"""Of the paper's anchor sizes: at its 600 pixels few objects are smaller than the smallest anchor,
of 32; at 160 most would be."""

FOCAL = "1b-gamma-2.0"
BALANCED = "1a-alpha-0.75"
PLAIN = "1a-alpha-0.50"
"""An alpha of .5 weighs both alike: the paper gives plain cross entropy the same 30.2 AP."""
MINED = "1d-ohem-128-nms-0.5"
KEY = (FOCAL, BALANCED, PLAIN, MINED)
"""What the paper's claims rest on: repeated with several seeds."""

OPTIMIZER = OptimizerSection(name="adamw", lr=1e-3, warmup_steps=20, clip_norm=5.0)
"""Departs: by the paper's SGD at .01, with a warm-up as short as these runs, cross entropy diverges
for alpha up to .5; here every loss is to train."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What all runs of a study share.

    `data`: a folder with train.json, val.json and images/; None for drawn scenes, of which
    `pictures` says how many are to train with and to measure by. `seeds`: how often a key run is
    repeated. `checkpoint`: what Figure 4 is drawn of, if not a run of the study.
    """

    out: Path
    data: Path | None = None
    backbone_weights: str | None = None
    steps: int = 200
    scale: int = 160
    batch_size: int = 8
    pictures: tuple[int, int] = (400, 200)
    seeds: int = 3
    device: str = "cpu"
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: accepted are numbers from 1")


class Outcome(NamedTuple):
    """A finished run.

    `metrics` of the last weights; `stopped`: why it ended early, if so, and has no metrics;
    `seconds` that it took, None if it was interrupted.
    """

    folder: Path
    metrics: dict[str, Any]
    stopped: str
    seconds: float | None

    @property
    def curve(self) -> list[float]:
        """The class loss of each step."""
        lines = (self.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry["class_loss"] for entry in entries if "class_loss" in entry]


class Study:
    """The runs of one setting, under OUT/runs. `used`: those that were asked for."""

    def __init__(self, setting: Setting, say: Say) -> None:
        self.setting, self.say = setting, say
        self.used: dict[str, Outcome] = {}
        self.data = _data_of(setting)

    def recipe(self, paper: str, seed: int = 0, scale: int | None = None) -> Recipe:
        """A recipe of the paper at the setting's size.

        Its losses, matching, flips and the number and shapes of its anchors are the paper's.
        Departs: the losses are divided by the positive anchors of the batch, not of each picture:
        many pictures have none, and would outweigh the others.
        """
        setting = self.setting
        source = read_recipe(PAPER / f"{paper}.toml")
        anchors = source.model.anchors
        sizes = tuple(size * ANCHOR_FACTOR for size in anchors.sizes)
        return source.model_copy(
            update={
                "model": ModelSection(
                    backbone="mobilenet_v2",
                    backbone_weights=setting.backbone_weights,
                    # Random weights don't keep the signal's size without a norm that is trained.
                    norm="frozen" if setting.backbone_weights else "trained",
                    frozen_stages=source.model.frozen_stages if setting.backbone_weights else 0,
                    head_width=64,
                    head_depth=2,
                    anchors=replace(anchors, sizes=sizes),
                ),
                "data": self.data,
                "loss": replace(source.loss, normaliser="batch"),
                "optimizer": OPTIMIZER,
                "train": TrainSection(
                    steps=setting.steps,
                    batch_size=setting.batch_size,
                    scale=scale or setting.scale,
                    seed=seed,
                    workers=0,
                    evaluate_every=setting.steps,
                    checkpoint_every=50,
                ),
            }
        )

    def outcome(self, recipe: Recipe) -> Outcome:
        """The outcome of a run: of one made before, even by another name, or trained now.

        A run that was interrupted goes on where it was; one that another process is at is waited
        for.
        """
        rule = recipe.model_dump_json(exclude={"name", "expect"})
        digest = hashlib.sha256(rule.encode()).hexdigest()[:12]
        folder = self.setting.out / "runs" / digest
        kept = folder / "outcome.json"
        with alone(folder / "lock"):
            if not kept.exists():
                text = json.dumps(self._trained(recipe, folder))
                with whole_file(kept) as part:
                    part.write_text(text, encoding="utf-8")
                (folder / LAST).unlink(missing_ok=True)  # three times the weights, and done with
        outcome = Outcome(folder, **json.loads(kept.read_text(encoding="utf-8")))
        self.used[digest] = outcome
        return outcome

    def outcomes(self, paper: str) -> list[Outcome]:
        """The outcomes of a recipe of the paper: one for each seed of the key ones, else one."""
        seeds = self.setting.seeds if paper in KEY else 1
        return [self.outcome(self.recipe(paper, seed)) for seed in range(seeds)]

    def _trained(self, recipe: Recipe, folder: Path) -> dict[str, Any]:
        resumed = (folder / LAST).exists()
        begin = time.monotonic()
        metrics: dict[str, Any] = {}
        stopped = ""
        try:
            best = train(recipe, folder, True, _silent, self.setting.device)
            metrics = best.metrics["val"]
        except TrainingStopped as stop:
            stopped = str(stop).partition(" on ")[0]  # what follows are the pictures
        seconds = None if resumed else time.monotonic() - begin
        ended = stopped or f"AP {100 * metrics['AP']:.1f}, AP50 {100 * metrics['AP50']:.1f}"
        self.say(f"{recipe.name}, seed {recipe.train.seed}: {ended}")
        return {"metrics": metrics, "stopped": stopped, "seconds": seconds}


def _data_of(setting: Setting) -> DataSection:
    if setting.data is None:
        with alone(setting.out / "data" / "lock"):
            train_set, val_set = sparse_scenes(setting.out / "data", setting.pictures)
    else:
        train_set, val_set = (
            CocoSource(
                format="coco",
                annotations=setting.data / f"{part}.json",
                images=setting.data / "images",
                bad_boxes="drop",
            )
            for part in ("train", "val")
        )
    return DataSection(train=[train_set], val=val_set)


def _silent(sentence: str) -> None:
    """What the loop says of each of many runs."""
