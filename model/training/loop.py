"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from model.anchors import anchors_of_canvas
from model.backbones.registry import load_backbone_weights
from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.criterion import Losses, detection_loss
from model.data.records import DataSet
from model.data.samples import Batch, BatchPositions, SampleStream, collate, epoch_of
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.letterbox import Canvas
from model.normalise import normalise
from model.recipe import Recipe
from model.retinanet import Architecture, RetinaNet
from model.training.journal import Journal
from model.training.optimizer import WeightAverage, build_optimizer, rate_factor, set_rate

LAST, BEST = "last.pt", "best.pt"
FREE = ("train.steps", "train.workers", "train.evaluate_every", "train.checkpoint_every")
"""What a resumed run's recipe may say anew; a longer schedule changes the rates still to come."""
Say = Callable[[str], None]


class TrainingStopped(RuntimeError):
    """The loss or its gradient became NaN or infinite; the last good checkpoint is kept."""


@dataclass
class Run:
    """Everything that changes while training."""

    recipe: Recipe
    classes: tuple[str, ...]
    model: RetinaNet
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    step: int = 0
    best_ap: float = -1.0

    def checkpoint(self, metrics: dict[str, Any], resumable: bool) -> Checkpoint:
        """The weights to use and, if `resumable`, the state that an exact resume needs."""
        state = self.average.state if self.average else self.model.state_dict()
        training = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_ap": self.best_ap,
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

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where a resumable checkpoint was written."""
        self.model.load_state_dict(checkpoint.training["model"])
        self.optimizer.load_state_dict(checkpoint.training["optimizer"])
        if self.average:
            for key, value in self.average.state.items():
                value.copy_(checkpoint.state[key])
        self.step, self.best_ap = checkpoint.step, checkpoint.training["best_ap"]


def train(recipe: Recipe, out: Path, resume: bool, say: Say, device: str = "cpu") -> Checkpoint:
    """Trains by the recipe into `out` and returns the best checkpoint (by AP on val, else last).

    Writes `last.pt` (resumable), `best.pt` and `log.jsonl`. The same recipe and seed give the same
    run; a resumed run goes on exactly as if it had never stopped.
    Raises InputError for bad input, TrainingStopped for a NaN loss.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"device {device!r}: accepted are cpu and cuda:N ({reason})") from None
    last = out / LAST
    if not resume and any((out / name).exists() for name in (LAST, BEST)):
        raise InputError(
            f"{out} already holds a run: add --resume to go on, or choose another --out"
        )
    parts = []
    classes = recipe.classes
    for source in recipe.data.train:
        data = source.open(classes)
        classes = data.classes
        parts.append((source, data))
        for sentence in data.dropped:
            say(f"dropped: {sentence}")
    assert classes is not None
    val = recipe.data.val.open(classes) if recipe.data.val else None
    for sentence in val.dropped if val else ():
        say(f"dropped: {sentence}")
    run = _started(recipe, classes, device)
    out.mkdir(parents=True, exist_ok=True)
    if resume and last.exists():
        checkpoint = load_checkpoint(last)
        _check_same_run(checkpoint, run, last)
        run.restore(checkpoint)
        say(f"resumed {last} at step {run.step}")
    journal = Journal(out / "log.jsonl", run.step)
    rule = recipe.train
    stream = SampleStream(
        epoch_of(parts), Canvas.parse(rule.canvas), rule.scale, recipe.augment, rule.seed
    )
    say(
        f"{len(stream.pictures)} pictures an epoch, {len(classes)} classes, steps "
        f"{run.step}..{rule.steps} of {rule.batch_size} images on canvas {rule.canvas}"
    )
    with tqdm(initial=run.step, total=rule.steps, unit="step", dynamic_ncols=True) as bar:
        for batch in _batches(stream, run.step, recipe):
            losses = _step(run, batch, device)
            bar.update()
            bar.set_postfix(
                classes=f"{losses.classes:.4f}", boxes=f"{losses.boxes:.4f}", refresh=False
            )
            journal.write(
                step=run.step,
                class_loss=float(losses.classes),
                box_loss=float(losses.boxes),
                positives=int(losses.positives),
                lr=run.optimizer.param_groups[-1]["lr"],
            )
            ended = run.step == rule.steps
            if val and (ended or run.step % rule.evaluate_every == 0):
                _evaluate(run, val, out, journal, say)
            if ended or run.step % rule.checkpoint_every == 0:
                save_checkpoint(last, run.checkpoint({}, resumable=True))
    return load_checkpoint(out / BEST if (out / BEST).exists() else last)


def _started(recipe: Recipe, classes: tuple[str, ...], device: str) -> Run:
    torch.manual_seed(recipe.train.seed)
    section = recipe.model
    model = RetinaNet(
        Architecture(
            len(classes),
            section.backbone,
            section.head_width,
            section.head_depth,
            section.prior,
            section.anchors,
        )
    )
    if section.backbone_weights:
        load_backbone_weights(model.backbone, section.backbone_weights)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, recipe.optimizer)
    decay = recipe.train.ema_decay
    return Run(recipe, classes, model, optimizer, WeightAverage(model, decay) if decay else None)


def _check_same_run(checkpoint: Checkpoint, run: Run, path: Path) -> None:
    if not checkpoint.training:
        raise InputError(f"{path} holds weights alone; a run can be resumed from {LAST} only")
    if checkpoint.architecture != run.model.architecture or checkpoint.classes != run.classes:
        raise InputError(
            f"{path} was trained as {checkpoint.architecture} on {list(checkpoint.classes)}, the "
            "recipe says otherwise: resume with the recipe that started the run"
        )
    now = run.recipe.model_dump(mode="json")
    for section in ("augment", "matching", "loss", "optimizer", "train"):
        before = checkpoint.recipe.get(section, {})
        for key, value in now[section].items():
            if f"{section}.{key}" not in FREE and before.get(key, value) != value:
                raise InputError(
                    f"{path} was trained with {section}.{key} = {before[key]!r}, not {value!r}; "
                    f"a resumed run may change {', '.join(FREE)}"
                )


def _batches(stream: SampleStream, first: int, recipe: Recipe) -> Iterator[Batch]:
    rule = recipe.train
    positions = BatchPositions(first, rule.steps, rule.batch_size)
    loader = DataLoader(
        stream,
        batch_sampler=positions,
        collate_fn=collate,
        num_workers=rule.workers,
        persistent_workers=rule.workers > 0,
        worker_init_fn=_one_thread,
    )
    try:
        yield from loader
    except InputError as error:
        # One from a worker arrives with the worker's traceback in front of its sentence.
        raise InputError(str(error).strip().split(f"{InputError.__name__}: ")[-1]) from None


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _step(run: Run, batch: Batch, device: str) -> Losses:
    recipe = run.recipe
    run.model.train()
    set_rate(run.optimizer, rate_factor(run.step, recipe.train.steps, recipe.optimizer))
    images = batch.images.to(device)
    x = normalise(images, batch.image_sizes.to(device))
    x = x.contiguous(memory_format=torch.channels_last)
    bf16 = recipe.train.precision == "bf16"
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        predictions = run.model(x)
    anchors = anchors_of_canvas(
        (images.shape[1], images.shape[2]), run.model.architecture.anchors, device
    )
    targets = [type(target)(*(part.to(device) for part in target)) for target in batch.targets]
    losses = detection_loss(predictions, anchors, targets, recipe.matching, recipe.loss)
    if not math.isfinite(losses.total.item()):
        values = f"class loss {losses.classes.item()}, box loss {losses.boxes.item()}"
        raise TrainingStopped(_stopped(values, run, batch))
    run.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    # The norm is taken without a bound too: a finite loss may have a gradient that is not.
    bound = recipe.optimizer.clip_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), bound)
    if not math.isfinite(norm.item()):
        raise TrainingStopped(_stopped(f"gradient norm {norm.item()}", run, batch))
    run.optimizer.step()
    if run.average:
        run.average.update(run.model, run.step)
    run.step += 1
    return Losses(losses.classes.detach(), losses.boxes.detach(), losses.positives)


def _stopped(values: str, run: Run, batch: Batch) -> str:
    return (
        f"step {run.step + 1}: {values} on {', '.join(batch.names)}; "
        f"{LAST} holds the last good weights"
    )


def _evaluate(run: Run, val: DataSet, out: Path, journal: Journal, say: Say) -> None:
    checkpoint = run.checkpoint({}, resumable=False)
    rule = run.recipe.train
    detections = detect_records(
        checkpoint,
        val.records,
        rule.scale,
        autocast=rule.precision == "bf16",
        device=str(next(run.model.parameters()).device),
    )
    metrics = coco_metrics(val.coco, run.classes, detections)
    journal.write(step=run.step, val=metrics)
    classes = ", ".join(f"{name} {m['AP']}" for name, m in metrics["classes"].items())
    say(f"step {run.step}: AP {metrics['AP']}, AP50 {metrics['AP50']} ({classes})")
    if metrics["AP"] is not None and metrics["AP"] > run.best_ap:
        run.best_ap = metrics["AP"]
        checkpoint.metrics = {"val": metrics, "scale": rule.scale}
        save_checkpoint(out / BEST, checkpoint)
