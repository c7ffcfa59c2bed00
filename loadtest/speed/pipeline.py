"""The same pictures without a server: one after the other, and decoding while the engine runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from itertools import cycle

import numpy as np

from export.engines.session import Session
from export.manifest import Manifest
from service.pictures.images import PreparedImage, prepare_image

AHEAD = 4
"""Pictures that are decoded ahead of the engine."""


class Pipeline:
    """Decoding, one picture at a time, and a session."""

    def __init__(self, session: Session, pictures: Sequence[bytes]) -> None:
        self._session, self.pictures = session, pictures

    @property
    def manifest(self) -> Manifest:
        """Of what runs."""
        return self._session.manifest

    def alone(self, number: int) -> float:
        """Seconds from a picture's bytes to its detections, nothing beside it."""
        began = time.perf_counter()
        self._run([self._prepared(self.pictures[number % len(self.pictures)])])
        return time.perf_counter() - began

    def rate(self, batch: int, seconds: float) -> float:
        """Pictures a second when one thread decodes while the engine runs batches of one canvas."""
        ready: queue.Queue[PreparedImage] = queue.Queue(AHEAD * batch)
        stopped = threading.Event()

        def decode() -> None:
            for data in cycle(self.pictures):
                image = self._prepared(data)
                while not stopped.is_set():
                    try:
                        ready.put(image, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stopped.is_set():
                    return

        decoding = threading.Thread(target=decode)
        decoding.start()
        try:
            self._run([ready.get() for _ in range(batch)])  # the first finds nothing decoded
            done, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                self._run([ready.get() for _ in range(batch)])
                done += batch
            return done / spent
        finally:
            stopped.set()
            decoding.join()

    def _prepared(self, data: bytes) -> PreparedImage:
        return prepare_image(data, self.manifest.default_scale, self.manifest)

    def _run(self, images: Sequence[PreparedImage]) -> None:
        thresholds = self.manifest.thresholds
        self._session.run(
            np.stack([image.canvas for image in images]),
            np.array([image.place.resized for image in images], np.int64),
            thresholds.score_threshold,
            thresholds.iou_threshold,
        )
