"""The exported view: a RetinaNet with normalisation, top-k, decoding and NMS around it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.manifest import Thresholds
from export.nms import nms_keep
from model.boxes import area_of, decode_boxes
from model.geometry import STRIDES
from model.normalise import normalise
from model.retinanet import RetinaNet


class Candidates(NamedTuple):
    """The best (anchor, class) pairs: boxes [B, T, 4] canvas pixels, scores [B, T] (0 in rows that
    hold nothing), classes [B, T].
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


class ExportedView(nn.Module):
    """What a bundle's graph computes; see `ARCHITECTURE.md` for its inputs and outputs.

    Equals `model.postprocess.detections_of` on the model's predictions, in operators that every
    runtime has and with static sizes after the top-k.
    """

    def __init__(
        self,
        model: RetinaNet,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        thresholds: Thresholds,
    ) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = mean, std
        self.thresholds = thresholds

    def forward(
        self,
        images: Tensor,
        image_sizes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detections of a batch, padded to D = `max_detections` rows.

        Shapes: uint8 [B, H, W, 3], int64 [B, 2], float32 [1], float32 [1] -> num_detections int64
        [B], boxes float32 [B, D, 4] (xyxy canvas pixels, clipped to the valid image), scores
        float32 [B, D] descending, classes int64 [B, D]; rows past num_detections: 0, 0, -1.
        """
        x = normalise(images, image_sizes, self.mean, self.std)
        predictions = self.model(x.to(self.model.fpn.p6.weight.dtype))
        canvas = (images.shape[1], images.shape[2])
        levels = [
            self._candidates(level, logits.float(), deltas.float(), canvas)
            for level, (logits, deltas) in enumerate(zip(*predictions, strict=True))
        ]
        boxes, scores, classes = (torch.cat(part, dim=1) for part in zip(*levels, strict=True))
        bound = image_sizes.flip(1).repeat(1, 2).float()[:, None]
        boxes = boxes.clamp(min=0).minimum(bound)
        usable = (scores > score_threshold) & (area_of(boxes) > 0)
        scores = torch.where(usable, scores, torch.zeros_like(scores))
        return self._detections(boxes, scores, classes, score_threshold, iou_threshold)

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
        padding = logits.new_full((batch, top_k), -torch.inf)
        best = torch.cat([logits.amax(dim=-1), padding], dim=1)
        best_logits, anchor_index = best.topk(top_k, dim=1)
        anchor_index = anchor_index.clamp(max=count - 1)
        rows = anchor_index[..., None]
        pair_logits = logits.gather(1, rows.expand(-1, -1, num_classes))
        pair_logits = torch.where(best_logits[..., None] > -torch.inf, pair_logits, -torch.inf)
        pair_logits, pair_index = pair_logits.flatten(1).topk(top_k, dim=1)
        # `//` is exact for any index; torch.div(rounding_mode="floor") exports as a float division.
        anchor_index = anchor_index.gather(1, pair_index // num_classes)
        chosen = deltas.gather(1, anchor_index[..., None].expand(-1, -1, 4))
        boxes = decode_boxes(chosen, self._anchors(level, anchor_index, canvas))
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

    def _detections(
        self,
        boxes: Tensor,
        scores: Tensor,
        classes: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cap = self.thresholds.max_detections
        labels = torch.arange(self.model.architecture.num_classes, device=boxes.device)
        own = classes[:, None] == labels[None, :, None]
        rows = torch.where(own, scores[:, None], torch.zeros_like(scores[:, None]))
        keep = nms_keep(boxes, rows, cap, score_threshold, iou_threshold)
        scores, order = (scores * keep).topk(cap, dim=1)
        real = scores > 0
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4)) * real[..., None]
        classes = torch.where(real, classes.gather(1, order), -torch.ones_like(order))
        return real.sum(dim=1), boxes, scores, classes
