"""Log lines: readable on a terminal, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a record's `facts` become its members."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str)


class TerminalFormatter(logging.Formatter):
    """A line for a person, facts at its end."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        line = super().format(record)
        facts = getattr(record, "facts", {})
        shown = {key: value for key, value in facts.items() if key not in _IN_THE_MESSAGE}
        return line + "".join(f" {key}={value}" for key, value in shown.items())


_IN_THE_MESSAGE = ("method", "path", "status")


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Sends every log record of this process to a stream (stderr), at `level` and above."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        TerminalFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        if stream.isatty()
        else JsonFormatter()
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # A broken picture is answered with a problem; Pillow's warnings about it say nothing more.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Uvicorn's own start and stop lines, and Pillow's chatter about chunks, are not ours to tell.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
