"""`retinaserve serve`: a bundle, or a checkpoint, behind HTTP."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from export.engines.registry import open_session
from export.manifest import Manifest
from service.settings import PREFIX, Settings, read_settings
from service.signals import ends_on_sigterm, outlives_sighup

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.reload import Opener

logger = logging.getLogger(__name__)

HELP = "serve a bundle over HTTP"

EPILOG = f"""\
example:
  retinaserve serve --port 8000
  curl --data-binary @cell.jpg http://127.0.0.1:8000/v1/detect
  retinaserve serve --bundle runs/mine/best.pt --engine torch --scales 320,480

Every option is also an environment variable, {PREFIX}<OPTION>, for example
{PREFIX}MAX_BATCH_SIZE=8; an option on the command line wins. More settings exist as
variables only: {PREFIX}API_KEY, {PREFIX}MAX_BODY_BYTES, {PREFIX}MAX_IMAGE_PIXELS,
{PREFIX}BODY_TIMEOUT_S, {PREFIX}TORCH_COMPILE and others: see service/settings.py.

SIGTERM: /readyz answers 503 at once, requests are served for --drain-delay-s more, then the
listener closes, what is in flight finishes and the exit status is 0. Ctrl-C skips the delay.

Exit status 70: the engine is lost (a fault of the device, a run that hangs, a failed warm-up).
/readyz and all requests answer 503 at once, for --drain-delay-s; the last log line says why.
Have whatever started the process start it again. Status 2: what was asked for can't be served.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; a value not given is left to the environment."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    options: list[tuple[str, type, str]] = [
        ("--bundle", Path, "a bundle, or for engine torch a checkpoint (default: packaged cells)"),
        ("--engine", str, "auto, onnxruntime, tensorrt or torch (default: auto, the fastest)"),
        ("--device", str, "cpu, or cuda:N for a GPU (default: cpu)"),
        ("--host", str, "address to listen on (default: 127.0.0.1)"),
        ("--port", int, "port to listen on, 0 for any free one (default: 8000)"),
        ("--admin-port", int, "port of POST /admin/reload on 127.0.0.1 (default: none)"),
        ("--precision", str, "fp32, fp16, bf16, int8 or fp8 (default: the bundle's first graph)"),
        ("--scales", str, "of a checkpoint, comma separated (default: the training's)"),
        ("--max-batch-size", int, "images that may share a run (default: 2)"),
        ("--queue-limit", int, "images that may wait before 503 (default: 64)"),
        ("--engine-threads", int, "cores for the engine (default: all available)"),
        ("--decode-threads", int, "threads that decode pictures (default: all available)"),
        ("--drain-delay-s", float, "seconds to keep serving after SIGTERM (default: 2)"),
        ("--log-level", str, "debug, info, warning or error (default: info)"),
    ]
    for flag, kind, text in options:
        parser.add_argument(flag, type=kind, help=text)
    parser.add_argument(
        "--chaos",
        action="store_const",
        const=True,
        help="let the header X-Retinaserve-Chaos break the engine: to try what happens then",
    )


OPTIONS = (
    "bundle", "engine", "device", "host", "port", "admin_port", "precision", "scales",
    "max_batch_size", "queue_limit", "engine_threads", "decode_threads", "drain_delay_s",
    "log_level", "chaos",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or Ctrl-C, then ends the process; 0 if what was in flight was answered.

    A lost engine ends it too, with status 70.
    """
    # Entered before the libraries are imported, which takes longer than all the rest of a start.
    with outlives_sighup(), ends_on_sigterm():
        status = _serve(args)
        # Without Python's own end, which would wait for an engine's thread that hangs: that of the
        # model that serves, or of one that was refused.
        sys.stdout.flush()
        os._exit(status)


def _serve(args: argparse.Namespace) -> int:
    """Serves to the end; the exit status."""
    settings = read_settings({name: getattr(args, name) for name in OPTIONS})
    # The rest is imported late: a bad setting is answered without waiting for the libraries.
    from service.admin import admin_socket, administered
    from service.engine.chaos import HEADER
    from service.plan_builder import plans_built
    from service.reload import Reloader
    from service.server import bind, serve, url_of
    from service.telemetry.logs import configure_logs

    configure_logs(settings.log_level)
    if settings.chaos:
        logger.warning("--chaos: whoever sends the header %s breaks the engine", HEADER)
    with (
        bind(settings.host, settings.port) as listener,
        admin_socket(settings) as admin,
    ):
        app, opener = application(settings, url_of(listener))
        runtime = app.state.runtime
        reloader = Reloader(runtime, opener)

        @asynccontextmanager
        async def beside() -> AsyncIterator[None]:
            async with administered(runtime, reloader, admin), plans_built(runtime, reloader):
                yield

        return serve(app, settings, listener, beside())


def application(settings: Settings, url: str) -> tuple[FastAPI, Opener]:
    """The application, which prints the welcome when it is ready, and what opens a next bundle.

    Nothing but the application holds the session: a reload has to be able to let go of it.
    """
    from service.app import create_app
    from service.reload import opener_of

    session = open_session(
        settings.bundle,
        settings.engine,
        settings.device,
        settings.precision,
        settings.engine_threads,
        scales=settings.checkpoint_scales,
        compiled=settings.torch_compile,
    )
    line = welcome(url, session.manifest, session.precision)
    app = create_app(settings, session, on_ready=lambda: print(line, flush=True))
    return app, opener_of(settings)


def welcome(url: str, manifest: Manifest, precision: str) -> str:
    """The line that says what is served where, and how to call it."""
    canvases = ", ".join(text for scale in manifest.scales for text in manifest.canvases[scale])
    return (
        f"retinaserve: {manifest.name} {manifest.version} ({precision}; canvases {canvases}) is "
        f"ready on {url}; try: curl --data-binary @cell.jpg {url}/v1/detect"
    )
