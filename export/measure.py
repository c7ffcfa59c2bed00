"""Detections of a graph or of a running server on a labelled set, and their AP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import httpx
import numpy as np
from tqdm import tqdm

from export.engines.parity import Detector
from export.manifest import Thresholds
from model.data.records import DataSet, Record
from model.errors import InputError
from model.evaluation.batches import picture_batches, read_ahead
from model.evaluation.coco_metrics import MAX_DETECTIONS, ImageDetections, coco_metrics
from model.letterbox import Canvas

HTTP_TIMEOUT_S = 120.0

SENDERS = 4
"""Pictures on their way to a server at a time: enough for it to batch, few for its queue."""

TRIES = 5
"""How often a picture is sent to a server that says 503, each time after its Retry-After."""

Found = dict[int, ImageDetections]
Progress = Callable[[int], object]
"""Is told how many pictures were done since it was last told."""


def detections_of_graph(
    detector: Detector,
    records: Iterable[Record],
    scale: int,
    canvases: Sequence[Canvas],
    thresholds: Thresholds,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Found:
    """By image id, each picture on the canvas that serving would choose."""
    found = {}
    for batch in picture_batches(records, scale, canvases, batch_size):
        of_batch = detector.run(
            batch.images,
            batch.image_sizes,
            thresholds.score_threshold,
            thresholds.iou_threshold,
        )
        for record, place, own in zip(batch.records, batch.places, of_batch, strict=True):
            found[record.image_id] = ImageDetections(
                place.boxes_to_image(own.boxes), own.scores, own.classes
            )
        if progress:
            progress(len(batch.records))
    return found


class Server:
    """A running server: `classes` and `default_scale` of the model that it serves.

    RETINASERVE_API_KEY is its key, where it asks for one. Raises InputError if it can't be reached,
    is none of ours or refuses.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._sleep = sleep
        key = os.environ.get("RETINASERVE_API_KEY")
        self._client = httpx.Client(
            headers={"X-API-Key": key} if key else {}, timeout=HTTP_TIMEOUT_S
        )
        try:
            model = self._ask("GET", "/v1/models")["models"][0]
            self.name: str = model["name"]
            self.classes: tuple[str, ...] = tuple(model["classes"])
            self.default_scale: int = model["default_scale"]
        except (KeyError, IndexError, TypeError) as error:
            raise self._stranger(f"/v1/models is not as expected: {error!r}") from None

    def detections(
        self, records: Iterable[Record], scale: int | None, progress: Progress | None = None
    ) -> Found:
        """By image id, what `POST /v1/detect` answers for each picture file's bytes."""
        records = list(records)
        detect = partial(self._detect, scale=scale)
        found = {}
        answers = read_ahead(detect, records, threads=SENDERS, ahead=SENDERS)
        for record, detections in zip(records, answers, strict=True):
            found[record.image_id] = detections
            if progress:
                progress(1)
        return found

    def _detect(self, record: Record, scale: int | None) -> ImageDetections:
        answer = self._ask(
            "POST",
            "/v1/detect",
            about=f"{record.source}: ",
            params={"max_detections": MAX_DETECTIONS, **({"scale": scale} if scale else {})},
            content=record.source.read_bytes(),
        )
        try:
            rows = answer["detections"]
            return ImageDetections(
                np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
                np.array([row["score"] for row in rows], np.float32),
                np.array([self.classes.index(row["label"]) for row in rows], np.int64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._stranger(f"an answer is not as expected: {error!r}") from None

    def _ask(self, method: str, path: str, about: str = "", **request: Any) -> dict[str, Any]:
        """The JSON of an answer with status 200; InputError for every other one."""
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._client.request(method, self._url + path, **request)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._stranger(str(error) or type(error).__name__) from None
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == TRIES:
                break
            self._sleep(float(answer.headers.get("Retry-After", 1)))
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not (answer.is_success or "detail" in body):
            raise self._stranger(f"HTTP {answer.status_code}")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise InputError(
                f"{self._url} is full or not ready, {TRIES} times in a row ({body['detail']}): "
                "try again when it has less to do"
            )
        if not answer.is_success:
            raise InputError(f"{self._url} refused {about}{body['detail']}")
        return body

    def _stranger(self, why: str) -> InputError:
        return InputError(f"{self._url} does not answer as a detection server ({why})")


def measured_ap(
    detector: Detector,
    data: DataSet,
    classes: Sequence[str],
    scale: int,
    canvases: Sequence[Canvas],
    thresholds: Thresholds,
) -> dict[str, Any]:
    """COCO metrics of a graph on a labelled set; shows how far it is."""
    with tqdm(total=len(data.records), unit="image", leave=False, disable=None) as bar:
        found = detections_of_graph(
            detector, data.records, scale, canvases, thresholds, progress=bar.update
        )
    return coco_metrics(data.coco, classes, found)
