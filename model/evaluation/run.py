"""Detections of a checkpoint on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint
from model.data.records import Record
from model.evaluation.batches import PictureBatch, picture_batches
from model.evaluation.coco_metrics import ImageDetections
from model.evaluation.postprocess import batch_detections
from model.letterbox import Canvas, canvases_of_scale
from model.normalise import normalise
from model.postprocess import Detections
from model.retinanet import RetinaNet

GPU_BATCH_SIZE = 16
"""On a CPU one picture at a time is as fast as any more: see `model.benchmark.evaluation`."""


@torch.no_grad()
def detect_records(
    checkpoint: Checkpoint,
    records: Iterable[Record],
    scale: int,
    canvases: Sequence[Canvas] | None = None,
    autocast: bool = False,
    device: str = "cpu",
    batch_size: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[int, ImageDetections]:
    """Detections of each record's picture by image id, boxes in image pixels.

    Pictures are batched by the canvas that serving would choose for each; the default
    `batch_size` suits the device. `autocast` runs the network in bfloat16. `progress` is told how
    many pictures were done since it was last told.
    An image's detections don't depend on the other records: processes share the work by taking
    `records[rank::world]` each, and the union of their answers is the whole.
    """
    model = checkpoint.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    canvases = canvases or canvases_of_scale(scale)
    batch_size = batch_size or (1 if torch.device(device).type == "cpu" else GPU_BATCH_SIZE)
    results = {}
    for batch in picture_batches(records, scale, canvases, batch_size):
        found = _detect(model, checkpoint, batch, autocast, device)
        for record, place, of_image in zip(batch.records, batch.places, found, strict=True):
            boxes, scores, classes = (part.cpu().numpy() for part in of_image)
            results[record.image_id] = ImageDetections(place.boxes_to_image(boxes), scores, classes)
        if progress:
            progress(len(batch.records))
    return results


def _detect(
    model: RetinaNet, checkpoint: Checkpoint, batch: PictureBatch, autocast: bool, device: str
) -> list[Detections]:
    images = torch.from_numpy(batch.images).to(device)
    sizes = torch.from_numpy(batch.image_sizes).to(device)
    x = normalise(images, sizes, checkpoint.mean, checkpoint.std)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=autocast):
        predictions = model(x)
    canvas = batch.places[0].canvas
    anchors = anchors_of_canvas(canvas, checkpoint.architecture.anchors, device)
    return batch_detections(predictions, anchors, sizes)
