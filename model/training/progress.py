"""What a person sees of a run that goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from model.training.meter import Meter
from model.training.step import StepReport

LINE_EVERY_S = 60.0
"""Between two lines where the output is no terminal, and a bar would fill it."""


class Progress:
    """A bar on a terminal, else a line a minute; nothing if not `shown`."""

    def __init__(
        self, first: int, steps: int, meter: Meter, say: Callable[[str], None], shown: bool
    ) -> None:
        self._meter, self._say, self._steps = meter, say, steps
        self._lines = shown and not sys.stderr.isatty()
        self._bar = tqdm(
            initial=first,
            total=steps,
            unit="step",
            dynamic_ncols=True,
            disable=not shown or self._lines,
        )
        self._said = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def step(self, step: int, report: StepReport) -> None:
        """After each step."""
        pace = self._meter.pace()
        figures = {
            "classes": f"{report.class_loss:.4f}",
            "boxes": f"{report.box_loss:.4f}",
            "images/s": f"{pace.images_per_s:.3g}",
            "waiting": f"{pace.wait_share:.0%}",
        }
        self._bar.update()
        self._bar.set_postfix(figures, refresh=False)
        if self._lines and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            left = duration((self._steps - step) * pace.step_s)
            shown = ", ".join(f"{name} {value}" for name, value in figures.items())
            self._say(f"step {step}/{self._steps}: {shown}, {left} left")


def duration(seconds: float) -> str:
    """About how long, for a person: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
