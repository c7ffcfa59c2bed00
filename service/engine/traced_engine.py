"""An engine each of whose runs is a span."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.engines.session import Detections
from service.engine.engine import Engine
from service.scheduling.schedule import Entry

if TYPE_CHECKING:
    from service.telemetry.spans import Tracing


class TracedEngine:
    """See the module."""

    def __init__(self, engine: Engine, tracing: Tracing) -> None:
        self._engine = engine
        self._tracing = tracing

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        """See `Engine.run`."""
        with self._tracing.batch(batch):
            return await self._engine.run(batch)

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()
