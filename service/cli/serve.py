"""`retinaserve serve`: a bundle, or a checkpoint, behind HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.engines.registry import open_session
from export.manifest import Manifest
from service.settings import PREFIX, read_settings

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


OPTIONS = (
    "bundle", "engine", "device", "host", "port", "precision", "scales", "max_batch_size",
    "queue_limit", "engine_threads", "decode_threads", "drain_delay_s", "log_level",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or Ctrl-C; 0 when everything in flight was answered."""
    settings = read_settings({name: getattr(args, name) for name in OPTIONS})
    # The rest is imported late: a bad setting is answered without waiting for the libraries.
    from service.logs import configure_logs
    from service.server import bind, serve, url_of

    configure_logs(settings.log_level)
    with bind(settings.host, settings.port) as listener:
        from service.app import create_app

        session = open_session(
            settings.bundle,
            settings.engine,
            settings.device,
            settings.precision,
            settings.engine_threads,
            scales=settings.checkpoint_scales,
            compiled=settings.torch_compile,
        )
        line = welcome(url_of(listener), session.manifest, session.precision)
        app = create_app(settings, session, on_ready=lambda: print(line, flush=True))
        serve(app, settings, listener)
    return 0


def welcome(url: str, manifest: Manifest, precision: str) -> str:
    """The line that says what is served where, and how to call it."""
    canvases = ", ".join(text for scale in manifest.scales for text in manifest.canvases[scale])
    return (
        f"retinaserve: {manifest.name} {manifest.version} ({precision}; canvases {canvases}) is "
        f"ready on {url}; try: curl --data-binary @cell.jpg {url}/v1/detect"
    )
