"""Detections of a torch model on a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from model.anchors import anchors_of_canvas
from model.data.records import Record
from model.evaluation.coco_metrics import ImageDetections
from model.letterbox import Canvas, canvases_of_scale, fill_canvas, letterbox
from model.normalise import normalise
from model.postprocess import detections_of
from model.retinanet import RetinaNet


@torch.no_grad()
def detect_records(
    model: RetinaNet,
    records: Iterable[Record],
    scale: int,
    canvases: Sequence[Canvas] | None = None,
    autocast: bool = False,
) -> dict[int, ImageDetections]:
    """Detections of each record's picture by image id, boxes in image pixels.

    One picture at a time on the canvas that serving would choose; `autocast` runs the network in
    bfloat16.
    """
    canvases = canvases or canvases_of_scale(scale)
    results = {}
    for record in records:
        picture = record.picture()
        place = letterbox((picture.height, picture.width), scale, canvases)
        canvas = np.zeros((*place.canvas, 3), np.uint8)
        fill_canvas(picture, place, canvas)
        sizes = torch.tensor([place.resized])
        x = normalise(torch.from_numpy(canvas)[None], sizes)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            predictions = model(x.contiguous(memory_format=torch.channels_last))
        anchors = anchors_of_canvas(place.canvas, model.architecture.anchors)
        (found,) = detections_of(predictions, anchors, sizes)
        results[record.image_id] = ImageDetections(
            place.boxes_to_image(found.boxes.numpy()), found.scores.numpy(), found.classes.numpy()
        )
    return results
