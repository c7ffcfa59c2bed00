"""Figure 4: which share of the loss comes from which share of the examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint
from model.data.records import Record
from model.evaluation.batches import picture_batches
from model.letterbox import canvases_of_scale
from model.losses.classification import focal
from model.matching import Matching, match_anchors
from model.normalise import normalise
from model.reproduction.plots import panels

GAMMAS = (0.0, 0.5, 1.0, 2.0)
BATCH_SIZE = 8
PLOTTED_POINTS = 401


class Margins(NamedTuple):
    """x_t of every (anchor, class) pair that training would count: positives and negatives."""

    positive: Tensor
    negative: Tensor


@torch.no_grad()
def margins_of(
    checkpoint: Checkpoint, records: Iterable[Record], scale: int, device: str
) -> Margins:
    """How a trained model places the examples of a data set.

    Source: Focal Loss paper, sec. 5.1, 'Analysis of the Focal Loss'.
    Departs: every pair of the given pictures, where the paper samples 10^7 negatives and 10^5
    positives of a large number of pictures.
    """
    model = checkpoint.build().to(device)
    positive, negative = [], []
    for batch in picture_batches(records, scale, canvases_of_scale(scale), BATCH_SIZE):
        sizes = torch.from_numpy(batch.image_sizes)
        x = normalise(torch.from_numpy(batch.images), sizes, checkpoint.mean, checkpoint.std)
        logits = torch.cat(model(x.to(device)).logits, dim=1).float().cpu()
        canvas = batch.places[0].canvas
        anchors = torch.cat(anchors_of_canvas(canvas, checkpoint.architecture.anchors))
        for record, place, of_image in zip(batch.records, batch.places, logits, strict=True):
            boxes = torch.from_numpy(place.boxes_to_canvas(record.boxes))
            ignored = torch.from_numpy(place.boxes_to_canvas(record.ignored))
            matches = match_anchors(anchors, boxes, ignored, Matching())
            owned = matches.positive.nonzero()[:, 0]
            classes = torch.from_numpy(record.classes)[matches.box_index[owned]]
            is_positive = torch.zeros_like(of_image, dtype=torch.bool)
            is_positive[owned, classes] = True
            positive.append(of_image[is_positive])
            negative.append(-of_image[matches.counted[:, None] & ~is_positive])
    return Margins(torch.cat(positive), torch.cat(negative))


def cumulative_share(x_t: Tensor, gamma: float) -> Tensor:
    """The share of the focal loss that the easiest 1, 2, ... examples hold; ends in 1.  [N]."""
    losses = focal(x_t, gamma).loss.double().sort().values
    return losses.cumsum(0) / losses.sum()


def share_of_hardest(x_t: Tensor, gamma: float, part: float) -> float:
    """The share of the focal loss that the hardest `part` of the examples hold."""
    easier = round(len(x_t) * (1 - part))
    return 1.0 if easier == 0 else 1.0 - float(cumulative_share(x_t, gamma)[easier - 1])


def figure_4(path: Path, margins: Margins) -> None:
    """The cumulative normalised loss of positives and negatives for several gammas."""
    named: Mapping[str, Tensor] = {"positives": margins.positive, "negatives": margins.negative}
    with panels(path, len(named)) as axes:
        for axis, (name, x_t) in zip(axes, named.items(), strict=True):
            places = torch.linspace(0, len(x_t) - 1, PLOTTED_POINTS, dtype=torch.float64).long()
            for gamma in GAMMAS:
                share = cumulative_share(x_t, gamma)[places]
                axis.plot((places + 1) / len(x_t), share, label=rf"$\gamma={gamma:g}$")
            axis.set(
                xlabel=f"share of the {len(x_t):,} {name}, easiest first",
                ylabel="share of their loss",
            )
