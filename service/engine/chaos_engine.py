"""Faults on demand: an engine that does to a batch what the marks of its images say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from export.engines.session import Detections, DeviceFault, OutOfMemory, Session, SessionError
from service.engine.engine import ThreadEngine
from service.scheduling.schedule import Entry


class ChaosEngine(ThreadEngine):
    """A session in its thread; before it runs, the marks are obeyed: `service.engine.chaos.Mark`.

    `sleep` and `hang` stand for time.sleep and for never coming back.
    """

    def __init__(
        self,
        session: Session,
        sleep: Callable[[float], None] = time.sleep,
        hang: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(session)
        self._sleep = sleep
        self._hang = hang or threading.Event().wait
        self._lost = False

    def _run(self, batch: Sequence[Entry]) -> list[Detections]:
        marks = [entry.chaos for entry in batch if entry.chaos is not None]
        faults = {mark.fault for mark in marks}
        if delay_s := max((mark.seconds for mark in marks), default=0.0):
            self._sleep(delay_s)
        if "hang" in faults:
            self._hang()
        self._lost = self._lost or "sticky" in faults
        if self._lost:
            raise DeviceFault("chaos: the device is lost")
        if "oom" in faults and len(batch) > 1:
            raise OutOfMemory(f"chaos: no memory for a batch of {len(batch)}")
        if "fail" in faults:
            raise SessionError("chaos: the batch fails")
        return super()._run(batch)
