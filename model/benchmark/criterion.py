"""Time and memory of the training loss, forward and backward, against the naive form, on a CPU.

    python -m model.benchmark.criterion

Prints medians of rounds in which both take turns: processor time of one thread, which other work on
the machine hardly changes. The peak is the growth of a fresh process's resident memory over that
with the predictions alone; Linux only.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from model.anchors import anchors_of_canvas
from model.benchmark.naive import naive_detection_loss
from model.criterion import Target, detection_loss
from model.letterbox import Canvas
from model.losses.rule import LossRule
from model.matching import Matching
from model.retinanet import Predictions

MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """The size of the batch."""

    canvas: Canvas
    num_classes: int
    images: int
    boxes: int


class Case:
    """Predictions and targets of one batch, as a fresh model with the prior of .01 sees it."""

    def __init__(self, setting: Setting) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        height, width = setting.canvas
        self.anchors = anchors_of_canvas((height, width))
        images, num_classes = setting.images, setting.num_classes
        shapes = [(images, len(level)) for level in self.anchors]
        logits = [torch.randn(*shape, num_classes).sub_(4.6) for shape in shapes]
        deltas = [torch.randn(*shape, 4).mul_(0.1) for shape in shapes]
        self.predictions = Predictions(logits, deltas)
        for tensor in (*logits, *deltas):
            tensor.requires_grad_()
        self.targets = []
        for _ in range(images):
            corner = torch.rand(setting.boxes, 2) * torch.tensor([width * 0.8, height * 0.8])
            boxes = torch.cat([corner, corner + 10 + torch.rand(setting.boxes, 2) * 200], dim=1)
            classes = torch.randint(0, num_classes, (setting.boxes,))
            complete = torch.ones(num_classes, dtype=torch.bool)
            self.targets.append(Target(boxes, classes, torch.zeros(0, 4), complete))

    def naive(self) -> Tensor:
        """Dense one-hot, autograd; see `naive_detection_loss`."""
        losses = naive_detection_loss(self.predictions, self.anchors, self.targets, 0.25, 2.0)
        return losses[0] + losses[1]

    def ours(self) -> Tensor:
        """`detection_loss` with the same losses and normaliser."""
        rule = LossRule(box="l1", normaliser="image")
        losses = detection_loss(self.predictions, self.anchors, self.targets, Matching(), rule)
        return losses.total


VARIANTS: dict[str, Callable[[Case], Tensor]] = {"naive": Case.naive, "ours": Case.ours}


def step_ms(case: Case, variant: str) -> float:
    """Milliseconds of the loss and its gradient."""
    for tensor in (*case.predictions.logits, *case.predictions.deltas):
        tensor.grad = None
    start = time.process_time()
    VARIANTS[variant](case).backward()  # type: ignore[no-untyped-call]
    return 1e3 * (time.process_time() - start)


def peak_mib(setting: Setting, variant: str) -> float:
    """Resident memory that one step adds to a process that holds the predictions, at its peak."""
    case = Case(setting)
    before = _resident_bytes("VmRSS")
    step_ms(case, variant)
    return (_resident_bytes("VmHWM") - before) / MIB


def _resident_bytes(name: str) -> int:
    """Not ru_maxrss: a child inherits its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m model.benchmark.criterion")
    parser.add_argument("--canvas", type=Canvas.parse, default=Canvas(608, 1024))
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--boxes", type=int, default=20, help="of each image")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    setting = Setting(args.canvas, args.classes, args.batch, args.boxes)

    peaks = {}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        for variant in VARIANTS:
            peaks[variant] = fresh.submit(peak_mib, setting, variant).result()
    case = Case(setting)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for counted in range(-1, args.rounds):
        for variant in VARIANTS:
            taken = step_ms(case, variant)
            if counted >= 0:
                times[variant].append(taken)

    logits = sum(level.nbytes for level in case.predictions.logits) / MIB
    anchors = sum(map(len, case.anchors))
    print(f"{anchors} anchors, {args.classes} classes, {args.batch} images of {args.boxes} boxes")
    print(f"logits {logits:.0f} MiB, one thread, medians of {args.rounds} rounds")
    print(f"{'':12}{'ms':>8}{'peak MiB':>10}")
    for variant in VARIANTS:
        print(f"{variant:12}{statistics.median(times[variant]):8.0f}{peaks[variant]:10.0f}")
    ratio = statistics.median(n / o for n, o in zip(times["naive"], times["ours"], strict=True))
    print(f"{'naive / ours':12}{ratio:8.1f}{peaks['naive'] / peaks['ours']:10.1f}")


if __name__ == "__main__":
    main()
