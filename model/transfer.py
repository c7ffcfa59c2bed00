"""Starting from a checkpoint that was trained on other classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import Checkpoint
from model.errors import InputError
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.retinanet import RetinaNet

_FREE = ("num_classes", "prior", "norm")
"""What a model may differ in from the checkpoint that it starts from."""


def start_from(model: RetinaNet, checkpoint: Checkpoint, classes: Sequence[str]) -> tuple[str, ...]:
    """Loads a checkpoint's weights into a model just built for `classes`.

    Returns the classes that both know, by name: the class head keeps what it learnt of them,
    wherever they stand in either list. Those of the others stay as built, with the prior.
    Training sees pictures as `model.normalise` has them by default; weights that are used to
    another deviation, as those of MSRA are, get their first convolution scaled for it.
    Raises InputError that names what doesn't fit.
    """
    _check_fits(model, checkpoint)
    kept = tuple(name for name in classes if name in checkpoint.classes)
    state = dict(checkpoint.state)
    for key in ("class_head.output.weight", "class_head.output.bias"):
        state[key] = _rows_kept(
            model.state_dict()[key],
            state[key],
            [classes.index(name) for name in kept],
            [checkpoint.classes.index(name) for name in kept],
            model.architecture.anchors.per_location,
        )
    first = next(key for key, value in model.state_dict().items() if value.ndim == 4)
    deviation = torch.tensor(IMAGENET_STD) / torch.tensor(checkpoint.std)
    state[first] = state[first] * deviation[:, None, None]
    # The architectures agree: all that may differ is whether norm counts its batches.
    model.load_state_dict(state, strict=False)
    return kept


def _check_fits(model: RetinaNet, checkpoint: Checkpoint) -> None:
    theirs = vars(checkpoint.architecture)
    if differences := [
        f"{name} {theirs[name]!r} and not {ours!r}"
        for name, ours in vars(model.architecture).items()
        if ours != theirs[name] and name not in _FREE
    ]:
        raise InputError(
            f"the checkpoint to start from has {', '.join(differences)}; accepted is the same"
        )
    if not np.allclose(checkpoint.mean, IMAGENET_MEAN, atol=1e-4):
        raise InputError(
            f"the checkpoint to start from is used to pictures less the mean {checkpoint.mean}; "
            f"accepted is {IMAGENET_MEAN}"
        )


def _rows_kept(
    ours: Tensor, theirs: Tensor, to: list[int], taken: list[int], per_location: int
) -> Tensor:
    """Our output channels [A * K, ...] with those of some classes taken from [A * K', ...]."""
    rows, others = (part.view(per_location, -1, *part.shape[1:]) for part in (ours.clone(), theirs))
    rows[:, to] = others[:, taken].to(rows)
    return rows.flatten(0, 1)
