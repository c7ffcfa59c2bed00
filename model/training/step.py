"""One optimisation step."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from model.anchors import anchors_of_canvas
from model.criterion import Losses, Target, detection_loss
from model.data.samples import Batch
from model.distributed import gather, sum_across, world_size
from model.errors import InputError
from model.normalise import normalise
from model.training.ends import TrainingStopped
from model.training.optimizer import rate_factor, set_rate
from model.training.state import LAST, Run

MAX_SKIPPED = 20
"""fp16 steps left out in a row before the run stops. The scale of the loss starts at 2^16 and is
halved by each: one of 2^-4 that still overflows is no matter of scale."""


class StepReport(NamedTuple):
    """What a step measured, over the images of all processes.

    `positives`: anchors assigned to a box. `lr`: the rate of the new layers. `gradient_norm`:
    before clipping; None where an fp16 step overflowed and left the weights as they were.
    """

    class_loss: float
    box_loss: float
    positives: int
    lr: float
    gradient_norm: float | None


def take_step(run: Run, batch: Batch) -> StepReport:
    """Takes one step on this process's share of a batch.

    Raises TrainingStopped, in every process, if the loss or its gradient is not finite; the weights
    then are those of before. Raises InputError if the device has too little memory.
    """
    rule = run.recipe.optimizer
    run.network.train()
    set_rate(run.optimizer, rate_factor(run.step, run.recipe.train.steps, rule))
    run.optimizer.zero_grad(set_to_none=True)
    try:
        losses = _losses(run, batch)
        run.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError as error:
        raise InputError(_too_large(run, batch)) from error
    run.scaler.unscale_(run.optimizer)
    parameters = [p for p in run.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if rule.clip_norm:
        torch.nn.utils.clip_grads_with_norm_(parameters, rule.clip_norm, norm)
    # All numbers come in one transfer: each makes the processor wait for the device.
    own = torch.stack([losses.classes, losses.boxes, losses.positives.to(norm.dtype)])
    numbers = torch.cat([own.detach(), sum_across(own), norm.detach()[None]]).tolist()
    own_loss = numbers[0] + numbers[1]
    classes, boxes = (total / world_size() for total in numbers[3:5])
    overflowed = not math.isfinite(numbers[6])
    if not math.isfinite(classes + boxes):
        _stop(run, batch, own_loss, f"class loss {classes}, box loss {boxes}")
    run.skipped = run.skipped + 1 if overflowed else 0
    if overflowed and (not run.scaler.is_enabled() or run.skipped > MAX_SKIPPED):
        _stop(run, batch, own_loss, f"gradient norm {numbers[6]}")
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.average and not overflowed:
        run.average.update(run.model, run.step)
    run.step += 1
    lr = run.optimizer.param_groups[-1]["lr"]
    return StepReport(classes, boxes, int(numbers[5]), lr, None if overflowed else numbers[6])


def _losses(run: Run, batch: Batch) -> Losses:
    """The losses of a batch under the recipe's precision, as the run's network stands."""
    rule, device = run.recipe, run.device
    images = batch.images.to(device, non_blocking=True)
    x = normalise(images, batch.image_sizes.to(device, non_blocking=True))
    x = x.contiguous(memory_format=torch.channels_last)
    precision = rule.train.precision
    with torch.autocast(
        torch.device(device).type,
        torch.float16 if precision == "fp16" else torch.bfloat16,
        enabled=precision != "fp32",
    ):
        predictions = run.network(x)
    targets = [Target(*(part.to(device, non_blocking=True) for part in t)) for t in batch.targets]
    return detection_loss(predictions, _anchors(run, images), targets, rule.matching, rule.loss)


def _anchors(run: Run, images: Tensor) -> list[Tensor]:
    """The anchors of the images' canvas, made once each."""
    canvas = (images.shape[1], images.shape[2])
    if canvas not in run.anchors:
        spec = run.model.architecture.anchors
        run.anchors[canvas] = anchors_of_canvas(canvas, spec, run.device)
    return run.anchors[canvas]


def _stop(run: Run, batch: Batch, own_loss: float, values: str) -> None:
    """Raises TrainingStopped with the images of those processes whose own loss is not finite.

    A gradient alone can't be told apart any more: it has been averaged over all of them.
    """
    shares = gather((math.isfinite(own_loss), batch.names))
    seen = [names for finite, names in shares if not finite] or [names for _, names in shares]
    images = ", ".join(name for names in seen for name in names)
    kept = f"{LAST} holds step {run.saved}" if run.saved else "no checkpoint was due before"
    raise TrainingStopped(f"step {run.step + 1}: {values} on {images}; {kept}")


def _too_large(run: Run, batch: Batch) -> str:
    count, height, width, _ = batch.images.shape
    return (
        f"step {run.step + 1} does not fit into the memory of {run.device}: {count} images of "
        f"{height}x{width}; choose a smaller train.batch_size or train.scale, "
        'train.precision = "bf16", or more processes'
    )
