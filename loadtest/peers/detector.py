"""What every peer serves: the bundled model, decoded and answered as by our own service.

The peers around it are written as their own documentation shows, each with its package in the
Python that runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from export.engines.registry import open_session
from model.cores import available_cores
from service.detections import Options, finish, result_of
from service.pictures.images import PreparedImage, prepare_image
from service.settings import packaged_bundle

MAX_BATCH = 2
"""Images in a batch of the bundled model on a CPU."""


class Detector:
    """The bundled model in this process, on all cores."""

    def __init__(self) -> None:
        self._session = open_session(packaged_bundle(), threads=available_cores())
        self._manifest = self._session.manifest
        self._options = Options.default(self._manifest)

    def prepare(self, data: bytes) -> PreparedImage:
        """A picture file, decoded and resized."""
        return prepare_image(data, self._options.scale, self._manifest)

    def detect(self, images: Sequence[PreparedImage]) -> list[dict[str, Any]]:
        """The JSON answers, of a run for images of one canvas and a run each for others."""
        if len({image.canvas.shape for image in images}) > 1:
            return [answer for image in images for answer in self.detect([image])]
        found = self._session.run(
            np.stack([image.canvas for image in images]),
            np.array([image.place.resized for image in images], np.int64),
            self._options.score_threshold,
            self._options.iou_threshold,
        )
        return [
            result_of(
                finish(one, image.place, self._options),
                image.place.image_size,
                self._options,
                self._manifest,
                {},
            )
            for one, image in zip(found, images, strict=True)
        ]
