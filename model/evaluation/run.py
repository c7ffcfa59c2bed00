"""Detections of a checkpoint on a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint
from model.data.records import Record
from model.evaluation.coco_metrics import ImageDetections
from model.letterbox import Canvas, canvases_of_scale, fill_canvas, letterbox
from model.normalise import normalise
from model.postprocess import detections_of
from model.retinanet import Predictions


@torch.no_grad()
def detect_records(
    checkpoint: Checkpoint,
    records: Iterable[Record],
    scale: int,
    canvases: Sequence[Canvas] | None = None,
    autocast: bool = False,
    device: str = "cpu",
) -> dict[int, ImageDetections]:
    """Detections of each record's picture by image id, boxes in image pixels.

    One picture at a time on the canvas that serving would choose; `autocast` runs the network in
    bfloat16. The network runs on `device`, the post-processing oracle on the CPU.
    """
    canvases = canvases or canvases_of_scale(scale)
    model = checkpoint.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    results = {}
    for record in records:
        picture = record.picture()
        place = letterbox((picture.height, picture.width), scale, canvases)
        canvas = np.zeros((*place.canvas, 3), np.uint8)
        fill_canvas(picture, place, canvas)
        sizes = torch.tensor([place.resized])
        x = normalise(torch.from_numpy(canvas)[None], sizes, checkpoint.mean, checkpoint.std)
        x = x.to(device, memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=autocast):
            predictions = model(x)
        on_cpu = Predictions(*([level.cpu() for level in part] for part in predictions))
        anchors = anchors_of_canvas(place.canvas, checkpoint.architecture.anchors)
        (found,) = detections_of(on_cpu, anchors, sizes)
        results[record.image_id] = ImageDetections(
            place.boxes_to_image(found.boxes.numpy()), found.scores.numpy(), found.classes.numpy()
        )
    return results
