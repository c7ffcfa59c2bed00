"""`loadtest.speed.null_server` without metrics: what is left when nothing is counted.

python -m loadtest.speed.silent_server --port 8000
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from loadtest.speed import null_server


class Silence:
    """Takes every call of an instrument, and of `Metrics` itself, and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *_: object) -> Any:
        return self


def main() -> int:
    """Serves until a signal."""
    with mock.patch("service.runtime.Metrics", Silence):
        return null_server.main()


if __name__ == "__main__":
    sys.exit(main())
