"""Evaluation of a checkpoint against the plain form: one picture after the other, oracle and all.

    python -m model.benchmark.evaluation best.pt --data val.json --images images

Prints medians of rounds in which all forms take turns on the same pictures, by the clock, so that
waiting for pictures counts; and the post-processing alone, in processor time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint, load_checkpoint
from model.data.coco import read_coco
from model.data.records import Record
from model.errors import InputError
from model.evaluation.batches import PictureBatch, picture_batches
from model.evaluation.postprocess import batch_detections
from model.evaluation.run import detect_records
from model.letterbox import canvases_of_scale
from model.normalise import normalise
from model.postprocess import Detections, detections_of
from model.retinanet import Predictions, RetinaNet


@torch.no_grad()
def plain_detect(checkpoint: Checkpoint, records: Sequence[Record], scale: int) -> int:
    """How many detections there are: read, detect, post-process, picture by picture."""
    model = checkpoint.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    count = 0
    for record in records:
        (batch,) = picture_batches([record], scale, canvases_of_scale(scale), batch_size=1)
        count += sum(len(f.boxes) for f in detections_of(*_predicted(model, checkpoint, batch)))
    return count


def _predicted(
    model: RetinaNet, checkpoint: Checkpoint, batch: PictureBatch
) -> tuple[Predictions, list[torch.Tensor], torch.Tensor]:
    sizes = torch.from_numpy(batch.image_sizes)
    x = normalise(torch.from_numpy(batch.images), sizes, checkpoint.mean, checkpoint.std)
    predictions = model(x.contiguous(memory_format=torch.channels_last))
    canvas = batch.places[0].canvas
    return predictions, anchors_of_canvas(canvas, checkpoint.architecture.anchors), sizes


@torch.no_grad()
def _post_processing(
    checkpoint: Checkpoint, records: Sequence[Record], scale: int, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds per image and round of the oracle and of the batched form, on one thread."""
    model = checkpoint.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = picture_batches(records, scale, canvases_of_scale(scale), batch_size=8)
    given = [_predicted(model, checkpoint, batch) for batch in batches]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    forms: dict[str, Callable[..., list[Detections]]] = {
        "oracle": detections_of,
        "batched": batch_detections,
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            start = time.thread_time()
            for arguments in given:
                form(*arguments)
            times[name].append(1e3 * (time.thread_time() - start) / len(records))
    torch.set_num_threads(threads)
    return times


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints the tables; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.benchmark.evaluation")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a COCO JSON file")
    parser.add_argument("--images", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--scale", type=int, default=480)
    parser.add_argument("--pictures", type=int, default=16, help="how many of them")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    try:
        _measure(args)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _measure(args: argparse.Namespace) -> None:
    checkpoint = load_checkpoint(args.checkpoint)
    data = read_coco(args.data, args.images, checkpoint.classes, "drop")
    records, scale = data.records[: args.pictures], args.scale

    def read_all() -> None:
        for _ in picture_batches(records, scale, canvases_of_scale(scale), batch_size=8):
            pass

    forms: dict[str, Callable[[], object]] = {
        "plain": partial(plain_detect, checkpoint, records, scale),
        "batches of 1": partial(detect_records, checkpoint, records, scale, batch_size=1),
        "batches of 4": partial(detect_records, checkpoint, records, scale, batch_size=4),
        "batches of 8": partial(detect_records, checkpoint, records, scale, batch_size=8),
        "pictures alone": read_all,
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for counted in range(-1, args.rounds):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            if counted >= 0:
                times[name].append(time.perf_counter() - start)
    print(
        f"{len(records)} pictures at scale {scale}, {torch.get_num_threads()} threads, medians of "
        f"{args.rounds} rounds"
    )
    print(f"{'':16}{'images/s':>10}{'against plain':>16}")
    for name, taken in times.items():
        ratio = statistics.median(p / t for p, t in zip(times["plain"], taken, strict=True))
        print(f"{name:16}{len(records) / statistics.median(taken):10.2f}{ratio:16.2f}")
    post = _post_processing(checkpoint, records, scale, args.rounds)
    print("post-processing, ms per image of one thread:")
    for name, taken in post.items():
        print(f"{name:16}{statistics.median(taken):10.1f}")


if __name__ == "__main__":
    sys.exit(main())
