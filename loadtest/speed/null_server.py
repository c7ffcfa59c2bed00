"""A server whose engine finds nothing at once: what is left is the service itself.

python -m loadtest.speed.null_server --port 8000
"""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.engines.session import Detections
from export.manifest import Manifest, Precision, read_bundle
from model.synthetic.scene import draw_scene
from service.app import create_app
from service.cli.serve import welcome
from service.server import bind, serve, url_of
from service.settings import packaged_bundle, read_settings
from service.telemetry.logs import configure_logs

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

SMALL = {"canvases": {128: ["128x160", "160x128"]}, "default_scale": 128}
"""Canvases for pictures of about their size: resizing is no part of what is measured."""


class NullSession:
    """Finds nothing in any image, in no time."""

    engine = "null"
    precision: Precision = "fp32"
    max_batch: int | None = None

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.parity: dict[str, Any] = {}

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `export.engines.session.Session.run`."""
        return [NOTHING] * len(images)


def null_session() -> NullSession:
    """Of the bundled model, for pictures like `small_picture`."""
    return NullSession(read_bundle(packaged_bundle()).manifest.model_copy(update=SMALL))


def small_picture() -> bytes:
    """A JPEG of 160x128 pixels."""
    out = io.BytesIO()
    Image.fromarray(draw_scene(1, (128, 160)).image).save(out, "JPEG", quality=90)
    return out.getvalue()


def main() -> int:
    """Serves until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--log-level", default="warning")
    args = parser.parse_args()
    settings = read_settings({"port": args.port, "log_level": args.log_level})
    configure_logs(settings.log_level)
    session = null_session()
    with bind(settings.host, settings.port) as listener:
        line = welcome(url_of(listener), session.manifest, session.precision) + "\n"

        def announce() -> None:
            sys.stdout.write(line)
            sys.stdout.flush()

        serve(create_app(settings, session, on_ready=announce), settings, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
