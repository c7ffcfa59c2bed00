"""The exported view: a RetinaNet with normalisation, top-k, decoding and NMS around it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.fixpoint_nms import fixpoint_nms
from export.manifest import Flavour, Thresholds
from export.nms import nms_keep
from model.boxes import area_of, decode_boxes
from model.geometry import STRIDES
from model.normalise import normalise
from model.retinanet import Predictions, RetinaNet


class Candidates(NamedTuple):
    """The best (anchor, class) pairs: boxes [B, T, 4] canvas pixels, scores [B, T] (0 in rows that
    hold nothing), classes [B, T].
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


class Stages(NamedTuple):
    """All that a view computes, in order.

    `candidates`: of all levels, clipped; score 0: no candidate. `detections`: see
    `ExportedView.forward`. `converged`: bool [B], of the tensor flavour alone.
    """

    predictions: Predictions
    candidates: Candidates
    detections: tuple[Tensor, Tensor, Tensor, Tensor]
    converged: Tensor | None


class ExportedView(nn.Module):
    """What a bundle's graph computes; see `ARCHITECTURE.md` for its inputs and outputs.

    Equals `model.postprocess.detections_of` on the model's predictions, in operators that every
    runtime has and with static sizes after the top-k. The `cpu` flavour ends in one operator for
    NMS; the `tensor` flavour in `export.fixpoint_nms`, half a second an image slower on a CPU.
    """

    def __init__(
        self,
        model: RetinaNet,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        thresholds: Thresholds,
        flavour: Flavour = "cpu",
    ) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = mean, std
        self.thresholds = thresholds
        self.flavour = flavour

    def forward(
        self,
        images: Tensor,
        image_sizes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
        max_detections: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Detections of a batch, padded to D = `thresholds.max_detections` rows.

        Shapes: uint8 [B, H, W, 3], int64 [B, 2], float32 [1], float32 [1], int64 [1] (D, if not
        given) -> num_detections int64 [B], boxes float32 [B, D, 4] (xyxy canvas pixels, clipped to
        the valid image), scores float32 [B, D] descending, classes int64 [B, D]; rows past
        num_detections: 0, 0, -1. The tensor flavour adds converged bool [B], where false the
        detections are not to be trusted, and the `Candidates` to make them from.
        """
        found = self.stages(images, image_sizes, score_threshold, iou_threshold, max_detections)
        if found.converged is None:
            return found.detections
        return (*found.detections, found.converged, *found.candidates)

    def stages(
        self,
        images: Tensor,
        image_sizes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
        max_detections: Tensor | None = None,
    ) -> Stages:
        """What `forward` gives and what comes before it."""
        x = normalise(images, image_sizes, self.mean, self.std)
        predictions = self.model(x.to(self.model.fpn.p6.weight.dtype))
        canvas = (images.shape[1], images.shape[2])
        return self.postprocess(
            predictions, canvas, image_sizes, score_threshold, iou_threshold, max_detections
        )

    def postprocess(
        self,
        predictions: Predictions,
        canvas: tuple[int, int],
        image_sizes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
        max_detections: Tensor | None = None,
    ) -> Stages:
        """What `stages` gives, from the network's predictions for a canvas."""
        levels = [
            self._candidates(level, logits, deltas, canvas)
            for level, (logits, deltas) in enumerate(zip(*predictions, strict=True))
        ]
        boxes, scores, classes = (torch.cat(part, dim=1) for part in zip(*levels, strict=True))
        bound = image_sizes.flip(1).repeat(1, 2).float()[:, None]
        boxes = boxes.clamp(min=0).minimum(bound)
        usable = (scores > score_threshold) & (area_of(boxes) > 0)
        scores = torch.where(usable, scores, torch.zeros_like(scores))
        candidates = Candidates(boxes, scores, classes)
        converged = None
        if self.flavour == "cpu":
            ranked = self._by_operator(candidates, score_threshold, iou_threshold)
        else:
            ranked, converged = self._by_fixpoint(candidates, iou_threshold)
        return Stages(predictions, candidates, _rows(ranked, max_detections), converged)

    def _candidates(
        self, level: int, logits: Tensor, deltas: Tensor, canvas: tuple[int, int]
    ) -> Candidates:
        """The `pre_nms_top_k` best pairs of a level, decoded.

        They lie in as many anchors with the best class score, so the first top-k ranks anchors by
        one number and the second the few pairs that are left: six times faster on CPU than ranking
        all pairs. Logits are ranked, not scores: the same order without a sigmoid for each.
        """
        top_k = self.thresholds.pre_nms_top_k
        batch, count, num_classes = logits.shape
        # Small levels have fewer anchors than top_k: padding keeps k, and so the shapes, constant.
        padding = deltas.new_full((batch, top_k), -torch.inf, dtype=torch.float32)
        best = torch.cat([logits.amax(dim=-1).float(), padding], dim=1)
        best_logits, anchor_index = best.topk(top_k, dim=1)
        anchor_index = anchor_index.clamp(max=count - 1)
        rows = anchor_index[..., None]
        # Cast here, for the few that are left: the whole of a level in half is half to read.
        pair_logits = logits.gather(1, rows.expand(-1, -1, num_classes)).float()
        pair_logits = torch.where(best_logits[..., None] > -torch.inf, pair_logits, -torch.inf)
        pair_logits, pair_index = pair_logits.flatten(1).topk(top_k, dim=1)
        # `//` is exact for any index; torch.div(rounding_mode="floor") exports as a float division.
        anchor_index = anchor_index.gather(1, pair_index // num_classes)
        boxes = decode_boxes(_at(deltas, anchor_index), self._anchors(level, anchor_index, canvas))
        return Candidates(boxes, torch.sigmoid(pair_logits), pair_index % num_classes)

    def _anchors(self, level: int, index: Tensor, canvas: tuple[int, int]) -> Tensor:
        """The anchors at these indices of `anchors_of_canvas`, computed: [B, T] -> [B, T, 4]."""
        spec = self.model.architecture.anchors
        stride = STRIDES[level]
        columns = (canvas[1] + stride - 1) // stride
        location = index // spec.per_location
        row = location // columns
        x = ((location - row * columns).float() + spec.offset) * stride
        y = (row.float() + spec.offset) * stride
        shapes = torch.tensor(spec.shapes(level), dtype=torch.float32, device=index.device)
        half = shapes[index % spec.per_location] / 2
        centres = torch.stack([x, y], dim=-1)
        return torch.cat([centres - half, centres + half], dim=-1)

    def _by_operator(
        self, candidates: Candidates, score_threshold: Tensor, iou_threshold: Tensor
    ) -> Candidates:
        """The best [B, D] that NMS keeps; score 0 past the last."""
        boxes, scores, classes = candidates
        cap = self.thresholds.max_detections
        labels = torch.arange(self.model.architecture.num_classes, device=boxes.device)
        own = classes[:, None] == labels[None, :, None]
        rows = torch.where(own, scores[:, None], torch.zeros_like(scores[:, None]))
        keep = nms_keep(boxes, rows, cap, score_threshold, iou_threshold)
        scores, order = (scores * keep).topk(cap, dim=1)
        return Candidates(_at(boxes, order), scores, classes.gather(1, order))

    def _by_fixpoint(
        self, candidates: Candidates, iou_threshold: Tensor
    ) -> tuple[Candidates, Tensor]:
        """As `_by_operator`, and for which images that is certain."""
        boxes, scores, classes, keep, converged = fixpoint_nms(*candidates, iou_threshold)
        # Of distinct numbers that fall with the rank: in which order a top-k gives equal ones is
        # the engine's affair.
        count = keep.shape[1]
        falling = torch.arange(count, 0, -1, dtype=torch.float32, device=keep.device)
        _, order = (keep * falling).topk(self.thresholds.max_detections, dim=1)
        scores = (scores * keep).gather(1, order)
        return Candidates(_at(boxes, order), scores, classes.gather(1, order)), converged


def _at(boxes: Tensor, index: Tensor) -> Tensor:
    """The boxes [B, T, 4] at these places [B, D] -> [B, D, 4]."""
    return boxes.gather(1, index[..., None].expand(-1, -1, 4))


def _rows(
    ranked: Candidates, max_detections: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The detections as they leave the graph: counted, and blank past the count."""
    boxes, scores, classes = ranked
    if max_detections is not None:
        scores = scores * (torch.arange(scores.shape[1], device=scores.device) < max_detections)
    real = scores > 0
    classes = torch.where(real, classes, -torch.ones_like(classes))
    return real.sum(dim=1), boxes * real[..., None], scores, classes
