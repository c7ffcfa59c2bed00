"""Detections of a graph or of a running server on a labelled set, and their AP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import numpy as np
import onnxruntime

from export.inputs import placed
from export.verify import session_of
from model.data.records import DataSet, Record
from model.errors import InputError
from model.evaluation.coco_metrics import MAX_DETECTIONS, ImageDetections, coco_metrics
from model.letterbox import Canvas

HTTP_TIMEOUT_S = 120.0

Found = dict[int, ImageDetections]


def detections_of_graph(
    session: onnxruntime.InferenceSession,
    records: Iterable[Record],
    scale: int,
    canvases: Sequence[Canvas],
) -> Found:
    """By image id, each picture alone on the canvas that serving would choose."""
    found = {}
    for record in records:
        entry = placed(record.picture(), scale, canvases)
        (count,), (boxes,), (scores,), (labels,) = session.run(None, entry.feed)
        found[record.image_id] = ImageDetections(
            entry.place.boxes_to_image(boxes[:count]), scores[:count], labels[:count]
        )
    return found


def detections_of_server(
    url: str, records: Iterable[Record], classes: Sequence[str], scale: int | None
) -> Found:
    """By image id, what `POST URL/v1/detect` answers for each picture file's bytes.

    Raises InputError if the server can't be reached or refuses a picture.
    """
    query = {"max_detections": MAX_DETECTIONS, **({"scale": scale} if scale else {})}
    found = {}
    with httpx.Client(timeout=HTTP_TIMEOUT_S) as client:
        for record in records:
            try:
                answer = client.post(
                    f"{url.rstrip('/')}/v1/detect",
                    params=query,
                    content=record.source.read_bytes(),
                )
                body = answer.json()
                if not answer.is_success:
                    raise InputError(f"{url} refused {record.source}: {body['detail']}")
                rows = body["detections"]
            except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
                raise InputError(f"{url} does not answer as a detection server ({error})") from None
            except (KeyError, TypeError):
                raise InputError(
                    f"{url} does not answer as a detection server (HTTP {answer.status_code})"
                ) from None
            if unknown := {row["label"] for row in rows} - set(classes):
                raise InputError(
                    f"{url} found {sorted(unknown)[0]!r}, which is no class of the data set; "
                    f"its classes are {', '.join(classes)}"
                )
            found[record.image_id] = ImageDetections(
                np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
                np.array([row["score"] for row in rows], np.float32),
                np.array([classes.index(row["label"]) for row in rows], np.int64),
            )
    return found


def measured_ap(
    graph: bytes, data: DataSet, classes: Sequence[str], scale: int, canvases: Sequence[Canvas]
) -> dict[str, Any]:
    """COCO metrics of a graph on a labelled set."""
    found = detections_of_graph(session_of(graph), data.records, scale, canvases)
    return coco_metrics(data.coco, classes, found)
