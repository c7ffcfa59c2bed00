"""The AP of a server's answers, by COCO's rules: each labelled picture is asked about once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from loadtest.protocols.protocol import Detection, DetectorProtocol
from loadtest.traffic.client import Client, Reply, open_client
from loadtest.traffic.inputs import picture_of
from loadtest.traffic.loops import gathered
from loadtest.traffic.sample import Outcome
from loadtest.traffic.trial import Blind, Load, Watch
from model.data.records import DataSet, Record
from model.errors import InputError
from model.evaluation.coco_metrics import ImageDetections, coco_metrics

SENDERS = 4
"""Pictures on their way at a time: enough for a server to batch, few for its queue."""

PATIENCE_S = 120.0

TRIES, PAUSE_S = 5, 1.0
"""For a picture that is refused or whose connection fails: others may load the server as well."""

AP = tuple[float | None, float | None]
"""AP and AP50, from 0 to 1."""


async def measured_ap(
    protocol: DetectorProtocol,
    data: DataSet,
    scale: int | None = None,
    watch: Watch | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> AP:
    """The AP of what a server answers for the pictures of a labelled set; none once `stopped`.

    It is measured apart from any load: there some pictures are asked about often, and others are
    refused. InputError if one is not answered in several tries, or no label is ever found.
    """
    watch = watch or Blind()
    found: dict[int, Sequence[Detection]] = {}
    calls = enumerate(data.records)  # senders take turns with it

    async def send(client: Client) -> None:
        for number, record in calls:
            if stopped():
                return
            watch.sent()
            reply = await _answer(client, protocol, number, record, scale)
            watch.tell(reply.sample)
            found[record.image_id] = reply.answer.detections if reply.answer else ()

    at = "" if scale is None else f" at scale {scale}"
    as_long_as_it_takes = Load(callers=SENDERS, seconds=math.inf, warm_up_s=0.0)
    watch.begin(f"AP{at}: {len(data.records)} pictures", as_long_as_it_takes)
    async with open_client(PATIENCE_S, protocol) as client:
        try:
            await gathered(send(client) for _ in range(SENDERS))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return ap_of(data, found) if len(found) == len(data.records) else (None, None)


def ap_of(data: DataSet, found: Mapping[int, Sequence[Detection]]) -> AP:
    """The AP of detections by image id; what has a name that is no label's counts for nothing."""
    names = {row.label for rows in found.values() for row in rows}
    if names.isdisjoint(data.classes):
        raise InputError(
            f"the server finds {', '.join(sorted(names)) or 'nothing'} in the pictures of "
            f"{data.name}, where {', '.join(data.classes)} are labelled"
        )
    told = {image_id: _in_classes(rows, data.classes) for image_id, rows in found.items()}
    metrics = coco_metrics(data.coco, data.classes, told)
    return metrics["AP"], metrics["AP50"]


async def _answer(
    client: Client, protocol: DetectorProtocol, number: int, record: Record, scale: int | None
) -> Reply:
    call = protocol.call(number, picture_of(record), scale)
    reply = await client.ask(call, client.now())
    for _ in range(TRIES - 1):
        if reply.sample.outcome not in (Outcome.REFUSED, Outcome.CONNECTION):
            break
        await asyncio.sleep(PAUSE_S)
        reply = await client.ask(call, client.now())
    if reply.answer is None:
        said = f", {reply.said}" if reply.said else ""
        raise InputError(
            f"{record.source}: {call.url} did not answer ({reply.sample.why}{said}); AP needs an "
            "answer for every picture"
        )
    return reply


def _in_classes(rows: Sequence[Detection], classes: Sequence[str]) -> ImageDetections:
    known = [row for row in rows if row.label in classes]
    boxes = np.array([row.box for row in known], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return ImageDetections(
        boxes,
        np.array([row.score for row in known], np.float32),
        np.array([classes.index(row.label) for row in known], np.int64),
    )
