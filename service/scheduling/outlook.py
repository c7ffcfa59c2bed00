"""How long what waits at one moment will take, and when one more image would be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model.letterbox import Canvas
from service.scheduling.forecast import Forecast, Span, total
from service.scheduling.schedule import Key


@dataclass(frozen=True)
class Outlook:
    """What waits, in the batches that it would form; all times from `now` on."""

    forecast: Forecast
    capacity: Callable[[Canvas], int]
    now: float
    under_way: Span
    """What the engine has begun, and what it does before anything that waits."""
    waiting: Mapping[Key, int]
    """Images of each key."""
    crowded: bool
    """Whether batches fill up before their turn comes: then they count as full."""

    @property
    def wait(self) -> Span:
        """Until all that waits now is done."""
        return self.under_way + total(self._batches(key) for key in self.waiting)

    def finish(self, key: Key, decoding: Span) -> Span:
        """Until one more image of this key is done, at most: the order of keys is not looked at.

        It is decoded while the engine does what is ahead. The own run counts as far as its figure
        can be trusted.
        """
        capacity = self.capacity(key.canvas)
        full, mates = divmod(self.waiting.get(key, 0), capacity)
        own = self.forecast.trusted_run(
            key.canvas, capacity if self.crowded else mates + 1, self.now
        )
        others = (self._batches(other, self.crowded) for other in self.waiting if other != key)
        ahead = self.under_way + total(others) + self._run(key, capacity).times(full)
        return max(ahead, decoding, key=lambda span: span.mean) + own

    def _batches(self, key: Key, filled: bool = False) -> Span:
        """The images of a key; `filled`: the last batch will be full."""
        capacity = self.capacity(key.canvas)
        full, rest = divmod(self.waiting[key], capacity)
        last = self._run(key, capacity if filled else rest) if rest else Span()
        return self._run(key, capacity).times(full) + last

    def _run(self, key: Key, size: int) -> Span:
        return self.forecast.run(key.canvas, size, self.now)
