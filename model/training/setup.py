"""From a recipe to a run that stands before its first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from model.backbones.norm import check_norm
from model.backbones.registry import load_backbone_weights
from model.backbones.stages import freeze_stages
from model.checkpoint import load_checkpoint
from model.data.loader import stream_of
from model.data.records import DataSet
from model.data.samples import SampleStream
from model.distributed import world_size
from model.errors import InputError
from model.recipe import ModelSection, Recipe
from model.retinanet import Architecture, RetinaNet
from model.training.optimizer import WeightAverage, build_optimizer
from model.training.state import Run
from model.transfer import start_from

Say = Callable[[str], None]


@dataclass(frozen=True)
class OpenedData:
    """The recipe's data: the class list in head order, what to train on, what to choose by."""

    classes: tuple[str, ...]
    train: list[DataSet]
    stream: SampleStream
    val: DataSet | None


def open_data(recipe: Recipe, say: Say) -> OpenedData:
    """Reads the labels of every data set; says which boxes were left out.

    The first training set's classes are those of the run if the recipe names none.
    """
    classes = recipe.classes
    parts = []
    for source in recipe.data.train:
        data = source.open(classes)
        classes = data.classes
        parts.append((source, data))
    assert classes is not None
    train = [data for _, data in parts]
    val = recipe.data.val.open(classes) if recipe.data.val else None
    for data in (*train, val) if val else train:
        for sentence in data.dropped:
            say(f"dropped: {sentence}")
    return OpenedData(classes, train, stream_of(recipe, parts), val)


def start_run(
    recipe: Recipe, data: OpenedData, say: Say, device: str, resuming: bool = False
) -> Run:
    """The run at step 0: the model with its first weights, the optimiser and what goes with them.

    One that is `resuming` needs no files of weights: its checkpoint has them. Nothing is exchanged
    between processes; `join_processes` comes after.
    """
    section, classes = recipe.model, data.classes
    check_norm(section.norm, device)
    size, processes = recipe.train.batch_size, world_size()
    if size % processes:
        raise InputError(
            f"train.batch_size {size}: it counts the images of a step over all processes and must "
            f"be a multiple of their number, {processes}"
        )
    torch.manual_seed(recipe.train.seed)
    named = {
        key: getattr(section, key)
        for key in Architecture.__dataclass_fields__.keys() - {"num_classes"}
    }
    model = RetinaNet(Architecture(len(classes), **named))
    if not resuming:
        _load_first_weights(model, section, classes, say)
    freeze_stages(model.backbone, section.frozen_stages)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rule = recipe.train
    optimizer = build_optimizer(model, recipe.optimizer, rule.batch_size)
    return Run(
        recipe,
        classes,
        round(sum(entry.times for entry in data.stream.pictures), 3),
        device,
        model,
        model,
        optimizer,
        GradScaler(torch.device(device).type, enabled=rule.precision == "fp16"),
        WeightAverage(model, rule.ema_decay) if rule.ema_decay else None,
    )


def _load_first_weights(
    model: RetinaNet, section: ModelSection, classes: tuple[str, ...], say: Say
) -> None:
    if section.weights:
        kept = start_from(model, load_checkpoint(section.weights), classes)
        new = ", ".join(name for name in classes if name not in kept) or "none"
        say(f"started from {section.weights}: new classes: {new}")
    elif section.backbone_weights:
        load_backbone_weights(model.backbone, section.backbone_weights)


def join_processes(run: Run) -> None:
    """Makes `network` average its gradients over all processes, and compiles it if asked.

    The model's own keys and parameters stay as they are.
    """
    if world_size() > 1:
        run.network = DistributedDataParallel(
            run.model,
            device_ids=[torch.device(run.device)] if run.device.startswith("cuda") else None,
            # Constant, alike in every process, or, of a trained batch norm, used in evaluation
            # alone, which takes those of the first process.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
    if run.recipe.train.compile:
        # In place: `torch.compile` would put `_orig_mod.` in front of the keys.
        run.network.compile()
