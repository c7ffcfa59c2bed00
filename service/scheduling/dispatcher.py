"""What the engine does next, who waits for it and who is refused: pure logic on an injected clock.

Whoever drives it keeps to one rule: while no batch runs, ask `next_batch`; when it gives one, run
it and say `succeeded` or `failed`. It batches because the engine is busy, never to wait for
company: whatever queued meanwhile is the next batch. A batch that fails is bisected, so that only
the image at fault gets the error. Every entry's owner is told exactly once, or has left.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from export.engines.session import Detections, DeviceFault, OutOfMemory
from model.letterbox import Canvas
from service.errors import (
    DeadlinePassed,
    Draining,
    EngineLost,
    EngineOutOfMemory,
    InferenceFailed,
    QueueFull,
    TooLate,
)
from service.scheduling.budget import Budget
from service.scheduling.forecast import Forecast, Span, total
from service.scheduling.outlook import Outlook
from service.scheduling.schedule import Answer, Entry, Key, Limits, Place, Schedule
from service.telemetry.stages import Clock

MAX_RETRY_AFTER_S = 60


@dataclass(frozen=True)
class BatchReport:
    """One run of the engine, for the metrics."""

    canvas: Canvas
    size: int
    image_pixels: int
    """Valid canvas pixels; the rest of size x canvas is padding."""
    reason: str
    """idle: the engine waited for it · full: a bound cut it · busy: all that had queued · retry:
    a part of a batch that failed."""
    seconds: float
    failed: bool


@dataclass
class _Run:
    batch: Sequence[Entry]
    reason: str
    began: float


class Dispatcher:
    """The queues, what runs, and the forecast of both. All times are on `clock`."""

    def __init__(
        self,
        limits: Limits,
        queue_limit: int,
        clock: Clock,
        report: Callable[[BatchReport], None] = lambda _: None,
        decode_threads: int = 1,
    ) -> None:
        self.forecast = Forecast(decode_threads)
        self.budget = Budget(limits)
        self._queue_limit = queue_limit
        self._clock = clock
        self._report = report
        self._schedule = Schedule()
        self._decoding: dict[Place, None] = {}
        self._retries: list[list[Entry]] = []
        """Parts of batches that failed, the next one last."""
        self._run: _Run | None = None
        self._idle = False
        self._crowded = False
        """Whether the last batch was full: then company comes for a batch that is not yet."""
        self._last_used: dict[Canvas, float] = {}
        self._refusal: type[Draining | EngineLost] | None = None
        """What whoever comes now is refused with."""
        self._ended = False

    @property
    def queued(self) -> int:
        """Images that are decoded and wait for the engine."""
        return len(self._schedule) + sum(map(len, self._retries))

    @property
    def waiting(self) -> int:
        """Admitted images that the engine has not begun: being decoded or queued."""
        return len(self._decoding) + self.queued

    @property
    def running(self) -> int:
        """Batches in the engine: 0 or 1."""
        return int(self._run is not None)

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest entry has been queued; 0 if none is."""
        now = self._clock()
        again = (now - entry.queued_at for part in self._retries for entry in part)
        return max(self._schedule.oldest_age_s(now), max(again, default=0.0))

    @property
    def wait_s(self) -> float:
        """How long what runs and waits now will take."""
        return self._outlook().wait.mean

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until what waits now is done; 1 to 60."""
        return _whole_seconds(self.wait_s)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do and never will be."""
        return self._ended or (self._refusal is not None and not self.waiting and not self._run)

    def likely(self, canvases: Sequence[Canvas]) -> Canvas:
        """The one of these that an image will get, before it is looked at: the one used last."""
        return max(canvases, key=lambda canvas: self._last_used.get(canvas, -math.inf))

    def check(self, key: Key, deadline: float | None) -> None:
        """Raises what an image that came now would be refused with.

        Draining or EngineLost; QueueFull; TooLate if it can't be answered by its deadline.
        """
        if self._refusal is not None:
            raise self._refusal()
        if self.waiting >= self._queue_limit:
            raise QueueFull(self._queue_limit, self.retry_after_s)
        decoding = self.forecast.trusted_decoding(len(self._decoding), self._clock())
        self._check_deadline(key, deadline, decoding)

    def admit(self, key: Key, deadline: float | None) -> Place:
        """A place for an image that is about to be decoded; see `check`."""
        self.check(key, deadline)
        place = Place(key, deadline, self._clock(), len(self._decoding))
        self._decoding[place] = None
        return place

    def release(self, place: Place) -> None:
        """Gives the place back, unless its image has been queued."""
        self._decoding.pop(place, None)

    def add(self, entry: Entry, place: Place) -> None:
        """Queues an image that has been decoded. Raises Draining, EngineLost and TooLate."""
        self.release(place)
        if self._ended and self._refusal is not None:
            raise self._refusal()
        now = self._clock()
        self.forecast.decoded(now - place.admitted_at, place.ahead, now)
        self._last_used[entry.key.canvas] = now
        self._check_deadline(entry.key, entry.deadline, decoding=None)
        self._schedule.add(entry)

    def leave(self, entry: Entry) -> None:
        """Takes an entry out, if it still waits: its owner is gone or told."""
        self._schedule.discard(entry)
        for part in self._retries:
            if entry in part:
                part.remove(entry)
        self._retries = [part for part in self._retries if part]

    def next_batch(self) -> Sequence[Entry] | None:
        """What the engine shall run now; None: nothing, until something is added."""
        assert self._run is None, "a batch runs already"
        now = self._clock()
        self._sweep(now)
        batch = self._retries.pop() if self._retries else []
        reason = "retry"
        if not batch:
            batch = self._next_queued(now)
            full = len(batch) > 0 and len(batch) == self.budget.capacity(batch[0].key.canvas)
            reason = "idle" if self._idle else "full" if full else "busy"
            self._crowded = full
        self._idle = not batch
        if not batch:
            return None
        self._run = _Run(batch, reason, now)
        return batch

    def succeeded(self, found: Sequence[Detections]) -> None:
        """Answers the batch that ran; `found` has one item for each of its entries."""
        run = self._finished(failed=False)
        canvas, size, now = run.batch[0].key.canvas, len(run.batch), self._clock()
        self.forecast.ran(canvas, size, now - run.began, now)
        self.budget.went_well(canvas, size)
        for entry, detections in zip(run.batch, found, strict=True):
            entry.answer(Answer(detections, run.began, size))

    def failed(self, error: BaseException) -> None:
        """Has the halves of the batch that ran tried again; an image alone is told.

        OutOfMemory lowers the bound of later batches as well; after a DeviceFault nothing runs any
        more, and whoever waits is told.
        """
        batch = self._finished(failed=True).batch
        if isinstance(error, DeviceFault):
            self._refusal = EngineLost
            self.end(also=batch)
            return
        out_of_memory = isinstance(error, OutOfMemory)
        if out_of_memory:
            self.budget.ran_out(batch[0].key.canvas, len(batch))
        if len(batch) == 1:
            alone = EngineOutOfMemory(self.retry_after_s) if out_of_memory else InferenceFailed()
            batch[0].refuse(alone)
            return
        middle = (len(batch) + 1) // 2
        for part in (batch[middle:], batch[:middle]):
            if wanted := [entry for entry in part if entry.wanted]:
                self._retries.append(wanted)

    def close(self) -> None:
        """Admits no more; what has been admitted is finished."""
        self._refusal = self._refusal or Draining

    def end(self, also: Sequence[Entry] = ()) -> None:
        """Runs nothing more: tells everybody who still waits, `also` among them."""
        self._refusal, self._ended = self._refusal or Draining, True
        running = self._run.batch if self._run else ()
        for entry in chain(also, running, *self._retries, self._schedule):
            entry.refuse(self._refusal())
        self._run, self._schedule, self._retries = None, Schedule(), []

    def _sweep(self, now: float) -> None:
        """Takes out whatever is past its deadline or whose owner has left."""
        for entry in list(chain(self._schedule, *self._retries)):
            if entry.deadline is not None and entry.deadline <= now:
                entry.refuse(DeadlinePassed())
            if not entry.wanted:
                self.leave(entry)

    def _next_queued(self, now: float) -> list[Entry]:
        def is_late(entry: Entry, size: int) -> bool:
            if entry.deadline is None:
                return False
            run = self.forecast.trusted_run(entry.key.canvas, size, now)
            return now + run.mean > entry.deadline

        while len(self._schedule):
            batch, passed = self._schedule.take_batch(self.budget.capacity, is_late)
            for entry in passed:
                entry.refuse(TooLate(self.retry_after_s))
            if batch:
                return batch
        return []

    def _finished(self, failed: bool) -> _Run:
        assert self._run is not None, "no batch runs"
        run = self._run
        pixels = sum(entry.image_size[0] * entry.image_size[1] for entry in run.batch)
        seconds = self._clock() - run.began
        canvas = run.batch[0].key.canvas
        self._report(BatchReport(canvas, len(run.batch), pixels, run.reason, seconds, failed))
        self._run = None  # last: should anything above fail, `end` still knows whom to tell
        return run

    def _check_deadline(self, key: Key, deadline: float | None, decoding: Span | None) -> None:
        """Raises TooLate if an image of this key that came now can't be answered in time.

        `decoding`: what that will take; None: it is done, and those that still are come after it.
        """
        if deadline is None:
            return
        outlook = self._outlook(with_decoding=decoding is not None)
        finish = outlook.now + outlook.finish(key, decoding or Span()).at_most
        if finish > deadline:
            raise TooLate(_whole_seconds(finish - deadline))

    def _outlook(self, with_decoding: bool = True) -> Outlook:
        now = self._clock()
        waiting = Counter(self._schedule.counts())
        if with_decoding:
            waiting.update(place.key for place in self._decoding)
        retries = (self._expected(part, now) for part in self._retries)
        under_way = self._rest_of_run(now) + total(retries)
        return Outlook(self.forecast, self.budget.capacity, now, under_way, waiting, self._crowded)

    def _rest_of_run(self, now: float) -> Span:
        """What the batch in the engine still takes: one that is late already, as long again."""
        if self._run is None:
            return Span()
        expected = self._expected(self._run.batch, now)
        return Span(abs(expected.mean - (now - self._run.began)), expected.variance)

    def _expected(self, batch: Sequence[Entry], now: float) -> Span:
        return self.forecast.run(batch[0].key.canvas, len(batch), now)


def _whole_seconds(seconds: float) -> int:
    return min(MAX_RETRY_AFTER_S, max(1, math.ceil(seconds)))
