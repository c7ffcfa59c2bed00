"""Everything that changes while training, and its way into checkpoints and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from model.checkpoint import Checkpoint
from model.errors import InputError
from model.recipe import Recipe
from model.retinanet import RetinaNet
from model.training.optimizer import WeightAverage

LAST, BEST = "last.pt", "best.pt"
FREE = (
    "train.steps",
    "train.workers",
    "train.evaluate_every",
    "train.checkpoint_every",
    "model.backbone_weights",
    "model.weights",
)
"""What a resumed run's recipe may say anew; a longer schedule changes the rates still to come."""


@dataclass
class Run:
    """A run between two steps.

    Training draws nothing from torch's random state: a sample is decided by the seed and its
    position, so the step's number stands for it.
    `network`: `model` as it is called in training, wrapped for several processes and compiled.
    `epoch_pictures`: how many an epoch shows; another number means another order of the data.
    `evaluated`, `saved`: the last step that was evaluated, or whose state was written.
    `skipped`: fp16 steps left out in a row. `anchors`: those of each canvas met so far.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    epoch_pictures: float
    device: str
    model: RetinaNet
    network: nn.Module
    optimizer: Optimizer
    scaler: GradScaler
    average: WeightAverage | None
    step: int = 0
    best_ap: float = -1.0
    evaluated: int = 0
    saved: int = 0
    skipped: int = 0
    anchors: dict[tuple[int, int], list[Tensor]] = field(default_factory=dict)

    def checkpoint(self, metrics: dict[str, Any], resumable: bool) -> Checkpoint:
        """The weights to use and, if `resumable`, the state that an exact resume needs."""
        state = self.average.state if self.average else self.model.state_dict()
        training = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_ap": self.best_ap,
            "evaluated": self.evaluated,
            "epoch_pictures": self.epoch_pictures,
        }
        return Checkpoint(
            self.model.architecture,
            self.classes,
            state,
            self.recipe.model_dump(mode="json"),
            self.step,
            metrics,
            training=training if resumable else {},
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Goes back to where a resumable checkpoint was written.

        InputError if the checkpoint is of a run that went, or would go on, in another way.
        """
        self._check_same_run(checkpoint, path)
        training = checkpoint.training
        self.model.load_state_dict(training["model"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.scaler.load_state_dict(training["scaler"])
        if self.average:
            for key, value in self.average.state.items():
                value.copy_(checkpoint.state[key])
        self.step, self.best_ap = checkpoint.step, training["best_ap"]
        self.evaluated, self.saved = training["evaluated"], checkpoint.step

    def _check_same_run(self, checkpoint: Checkpoint, path: Path) -> None:
        if not checkpoint.training:
            raise InputError(f"{path} holds weights alone; a run can be resumed from {LAST} only")
        if "epoch_pictures" not in checkpoint.training:
            raise InputError(
                f"{path} was written by an older version and can't be resumed exactly: start a new "
                "run with model.weights = that file"
            )
        if checkpoint.architecture != self.model.architecture or checkpoint.classes != self.classes:
            raise InputError(
                f"{path} was trained as {checkpoint.architecture} on {list(checkpoint.classes)}, "
                "the recipe says otherwise: resume with the recipe that started the run"
            )
        now = self.recipe.model_dump(mode="json")
        for section in ("model", "augment", "matching", "loss", "optimizer", "train"):
            before = checkpoint.recipe.get(section, {})
            for key, value in now[section].items():
                if f"{section}.{key}" not in FREE and before.get(key, value) != value:
                    raise InputError(
                        f"{path} was trained with {section}.{key} = {before[key]!r}, not "
                        f"{value!r}; a resumed run may change {', '.join(FREE)}"
                    )
        before, after = checkpoint.training["epoch_pictures"], self.epoch_pictures
        if before != after:
            raise InputError(
                f"{path} was trained on {before:g} pictures an epoch, now they are {after:g}; to "
                "train on with other data start a new run with model.weights = that file"
            )
