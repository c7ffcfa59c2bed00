"""The engine side of the seam: runs batches of a session, one at a time, in its own thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from export.engines.session import Detections, DeviceFault, Session
from service.scheduling.schedule import Entry


class Engine(Protocol):
    """What the batcher drives."""

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        """The detections of each entry; the entries share a key. Raises whatever went wrong."""

    def close(self) -> None:
        """Lets go of what it holds, without waiting for a run under way."""


class ThreadEngine:
    """A session in a single worker thread: the event loop stays free while it computes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        """See `Engine.run`. Copying the images into one array happens in the thread as well."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)

    def close(self) -> None:
        """See `Engine.close`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, batch: Sequence[Entry]) -> list[Detections]:
        images = np.stack([entry.image for entry in batch])
        sizes = np.array([entry.image_size for entry in batch], np.int64)
        _, score_threshold, iou_threshold = batch[0].key
        try:
            return self._session.run(images, sizes, score_threshold, iou_threshold)
        except SystemExit as error:
            # On its way through the event loop this would end the server in the midst of answers.
            raise DeviceFault("the engine ended its thread") from error
