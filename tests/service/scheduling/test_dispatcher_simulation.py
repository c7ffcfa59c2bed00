"""The dispatcher under anything in any order: arrivals, leavers, failures, deadlines, shutdown.

A virtual clock, an engine whose memory and moods the machine sets, and after each step what has
to hold. Nothing here knows how the dispatcher does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from export.engines.session import DeviceFault, OutOfMemory
from model.letterbox import Canvas
from service.errors import (
    DeadlinePassed,
    Draining,
    EngineLost,
    EngineOutOfMemory,
    InferenceFailed,
    Problem,
    QueueFull,
    TooLate,
)
from service.scheduling.schedule import Answer, Entry, Limits, Place
from tests.service.scheduling.entries import LARGE, SMALL, Desk, key

LIMITS = Limits(batch_size=4, batch_pixels=3 * 64 * 64 + 1)
CAPACITY = {SMALL: 4, LARGE: 3}
QUEUE_LIMIT = 8

Nature = Literal["fine", "poison"]


@dataclass(eq=False)
class Image:
    """One image as its caller and the engine know it."""

    number: int
    canvas: Canvas
    nature: Nature
    deadline: float | None
    place: Place | None = None
    entry: Entry | None = None
    runs: int = 0
    alone: type[Exception] | None = None
    """What its last run ended in, if it was alone in it."""
    freed: bool = False
    """Whether its owner has said that it is done with it."""
    out: bool = False
    """Whether the dispatcher has no reason to hold it any more."""

    @property
    def owner(self):
        return self.entry.owner

    @property
    def waits(self) -> bool:
        return self.entry is not None and not self.owner.done()


class Machine(RuleBasedStateMachine):
    """Drives a dispatcher as the batcher does, one thing at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(limits=LIMITS, queue_limit=QUEUE_LIMIT)
        self.it = self.desk.dispatcher
        self.images: list[Image] = []
        self.running: list[Image] = []
        self.lowered: dict[Canvas, int] = {}
        self.closed = self.lost = False
        self.asleep = False
        """Whether the dispatcher was asked in vain, and nothing has come since."""
        self.run_images = 0

    # What callers do

    @rule(
        canvas=st.sampled_from([SMALL, LARGE]),
        natures=st.lists(
            st.sampled_from(["fine", "fine", "fine", "poison"]), min_size=1, max_size=4
        ),
        patience=st.sampled_from([None, None, 0.5, 3.0, 30.0]),
        decoded=st.booleans(),
    )
    def arrive(
        self, canvas: Canvas, natures: list[Nature], patience: float | None, decoded: bool
    ) -> None:
        deadline = None if patience is None else self.desk.clock() + patience
        for nature in natures:
            image = Image(len(self.images), canvas, nature, deadline)
            try:
                image.place = self.it.admit(key(canvas), deadline)
            except Problem as problem:
                self._refused(problem, image)
                continue
            assert self._waiting() < QUEUE_LIMIT
            assert not self.closed
            assert not self.lost
            self.images.append(image)
            if decoded:
                self._decoded(image)

    @precondition(lambda self: self._decoding())
    @rule(data=st.data(), other=st.booleans())
    def decoded(self, data: st.DataObject, other: bool) -> None:
        """An image is decoded, and perhaps gets another canvas than was expected."""
        image = data.draw(st.sampled_from(self._decoding()))
        if other:
            image.canvas = LARGE if image.canvas == SMALL else SMALL
        self._decoded(image)

    @precondition(lambda self: self._decoding())
    @rule(data=st.data())
    def leave_while_decoding(self, data: st.DataObject) -> None:
        image = data.draw(st.sampled_from(self._decoding()))
        self.it.release(image.place)
        image.place = None

    @precondition(lambda self: self._unfreed())
    @rule(data=st.data(), at_once=st.booleans())
    def leave(self, data: st.DataObject, at_once: bool) -> None:
        """An owner goes, or reads what it was told; that it is gone it may say only later."""
        image = data.draw(st.sampled_from(self._unfreed()))
        image.owner.gone = True
        if at_once:
            self._free(image)

    # What time and the engine do

    @precondition(lambda self: self._decoding() or any(image.waits for image in self.images))
    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.desk.clock.now += seconds

    @precondition(lambda self: not self.running and not self.it.done and not self.asleep)
    @rule()
    def dispatch(self) -> None:
        """The engine is idle: whatever anybody waits for must run now, or be refused."""
        waiting = [image for image in self.images if image.waits]
        before = {image: image.runs for image in waiting}
        batch = self.it.next_batch()
        for image in self._unfreed():
            image.out |= image.owner.done()
        by_entry = {image.entry: image for image in self.images if image.entry}
        for image in waiting:
            if image.owner.told:
                self._refused(image.owner.told[0], image)
        still = [image for image in waiting if image.waits]
        if batch is None:
            assert still == []
            self.asleep = True
            return
        self.running = [by_entry[entry] for entry in batch]
        now = self.desk.clock()
        assert len(set(batch)) == len(batch)
        (canvas,) = {image.canvas for image in self.running}
        assert 1 <= len(batch) <= CAPACITY[canvas]
        for image in self.running:
            assert image in still
            assert image.deadline is None or image.deadline > now
        if all(before[image] == 0 for image in self.running):
            assert len(batch) <= self.lowered.get(canvas, CAPACITY[canvas])
            rest = [image for image in still if image not in self.running]
            first = min(image.entry.queued_at for image in self.running)
            last = max(image.entry.queued_at for image in self.running)
            assert all(image.entry.queued_at >= first for image in rest)
            assert all(image.entry.queued_at >= last for image in rest if image.canvas == canvas)
            assert not any(image.runs for image in rest)
        for image in self.running:
            image.runs += 1
        self.run_images += len(batch)

    @precondition(lambda self: self.running)
    @rule(
        fails=st.sampled_from([False, False, False, False, True]),
        memory=st.sampled_from([99, 99, 99, 2, 1, 0]),
        seconds=st.sampled_from([0.05, 0.4, 2.0]),
    )
    def run_ends(self, fails: bool, memory: int, seconds: float) -> None:
        """A run comes back: `fails` whatever the images are, `memory` holds so many images."""
        self.desk.clock.now += seconds
        batch, self.running = self.running, []
        canvas = batch[0].canvas
        error: Exception | None = None
        if len(batch) > memory:
            error = OutOfMemory("too many")
            half = max(1, len(batch) // 2)
            self.lowered[canvas] = min(half, self.lowered.get(canvas, half))
        elif fails or any(image.nature == "poison" for image in batch):
            error = RuntimeError("the engine failed")
        if len(batch) == 1:
            batch[0].alone = type(error)
        for image in batch:
            image.out |= error is None or len(batch) == 1 or image.owner.done()
        if error is None:
            self.it.succeeded([image.number for image in batch])
        else:
            self.it.failed(error)
        assert (self.desk.reports[-1].size, self.desk.reports[-1].failed) == (
            len(batch),
            bool(error),
        )

    @precondition(lambda self: self.running and self.run_images > 6)
    @rule()
    def device_is_lost(self) -> None:
        self.lost, self.running = True, []
        self.it.failed(DeviceFault("gone"))
        assert not any(image.waits for image in self.images)
        for image in self._unfreed():
            image.out = True

    @precondition(lambda self: self.run_images > 6)  # most games shall last
    @rule()
    def close(self) -> None:
        self._close()

    # What has to hold

    @invariant()
    def told_at_most_once_and_what_it_deserves(self) -> None:
        for image in self.images:
            if image.entry is None or not image.owner.told:
                continue
            (told,) = image.owner.told
            if isinstance(told, Answer):
                assert told.detections == image.number
                assert image.nature == "fine"
            elif isinstance(told, InferenceFailed):
                assert image.alone is RuntimeError
            elif isinstance(told, EngineOutOfMemory):
                assert image.alone is OutOfMemory
            elif isinstance(told, EngineLost):
                assert self.lost

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.it.running == bool(self.running)
        assert sum(report.size for report in self.desk.reports) == self.run_images - len(
            self.running
        )
        assert self.it.waiting == self._waiting()
        oldest = [i.entry.queued_at for i in self.images if i.waits and i not in self.running]
        if oldest:
            assert self.it.oldest_age_s >= self.desk.clock() - min(oldest)
        assert self.it.wait_s >= 0.0

    def teardown(self) -> None:
        """Once all callers have been served or left, nothing is held and all were told."""
        while self._decoding():
            self.it.release(self._decoding()[0].place)
            self._decoding()[0].place = None
        self._close()
        self.asleep = False
        for _ in range(100):
            if self.it.done:
                break
            if self.running:
                self.run_ends(fails=False, memory=99, seconds=0.1)
            else:
                self.dispatch()
        assert self.it.done
        assert not any(image.waits for image in self.images)
        assert self.it.waiting == self.it.queued == self.it.running == 0

    # The machine's own books

    def _close(self) -> None:
        self.it.close()
        self.closed = True

    def _decoded(self, image: Image) -> None:
        place, image.place = image.place, None
        image.entry = self.desk.entry(place, image.canvas)
        self.asleep = False
        try:
            self.it.add(image.entry, place)
        except Problem as problem:
            self._refused(problem, image)
            image.owner.gone = image.freed = image.out = True

    def _decoding(self) -> list[Image]:
        return [image for image in self.images if image.place]

    def _unfreed(self) -> list[Image]:
        return [image for image in self.images if image.entry and not image.freed]

    def _waiting(self) -> int:
        """Images that hold a place: being decoded, or queued."""
        queued = [i for i in self._unfreed() if not i.out and i not in self.running]
        return len(self._decoding()) + len(queued)

    def _free(self, image: Image) -> None:
        self.it.leave(image.entry)
        image.freed = True

    def _refused(self, problem: object, image: Image) -> None:
        """Checks that a problem has its reason."""
        match problem:
            case TooLate() | DeadlinePassed():
                assert image.deadline is not None
            case QueueFull():
                assert self._waiting() >= QUEUE_LIMIT
            case Draining():
                assert self.closed
            case EngineLost():
                assert self.lost
            case _:
                raise AssertionError(f"{problem!r} here")


TestDispatcher = Machine.TestCase
TestDispatcher.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
