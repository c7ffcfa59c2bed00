"""The fastest of several engines that finds what the reference finds, measured on this machine."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from export.engines.onnxruntime_session import OnnxRuntimeSession
from export.engines.parity import BOUNDS, Differences
from export.engines.session import Detections, Session, SessionError, SessionRule
from export.inputs import Placed, drawn_pictures, placed
from export.manifest import BundleError, read_bundle
from model.errors import InputError

logger = logging.getLogger(__name__)

PICTURES = 2
RUNS = 10
"""Timed runs of one image; the median counts."""

Opener = Callable[[str, SessionRule], Session]


class _Reference(NamedTuple):
    """What ONNX Runtime finds on the CPU in pictures of the default canvas."""

    session: Session
    pictures: list[Placed]
    expected: list[Detections]
    score_threshold: float


def fastest_session(names: Sequence[str], rule: SessionRule, open_engine: Opener) -> Session:
    """Of the engines `names`, the one with the shortest run that agrees with the reference.

    The reference is the bundle's fp32 graph, else its first, in ONNX Runtime on the CPU; an engine
    agrees if it stays within the bounds of its precision, see `export.engines.parity`. The log
    says what was tried. Raises InputError with all reasons if none is left.
    """
    reference = _reference(rule)
    best: tuple[float, Session] | None = None
    told = []
    for name in names:
        try:
            session = open_engine(name, rule)
            fault = _fault(session, reference)
        except (InputError, SessionError) as error:
            fault = str(error)
        if fault:
            told.append(f"{name} refused: {fault}")
            continue
        run_ms = _median_run_ms(session, reference.pictures[0])
        told.append(f"{name} ({session.precision}) {run_ms:.2f} ms")
        if best is None or run_ms < best[0]:
            best = (run_ms, session)
    if best is None:
        raise InputError(f"no engine can serve {rule.path} on {rule.device}: {'; '.join(told)}")
    canvas = reference.pictures[0].place.canvas
    logger.info("engine %s on %s; tried on %s: %s", best[1].engine, rule.device, canvas, told)
    return best[1]


def _reference(rule: SessionRule) -> _Reference:
    bundle = read_bundle(rule.path)
    manifest = bundle.manifest
    try:
        session: Session = OnnxRuntimeSession(bundle, "fp32", rule.threads)
    except BundleError:
        session = OnnxRuntimeSession(bundle, None, rule.threads)
    scale = manifest.default_scale
    canvas = manifest.canvases_by_scale[scale][0]
    pictures = [placed(picture, scale, [canvas]) for picture in drawn_pictures(canvas, PICTURES)]
    noise = np.random.default_rng(0).integers(0, 256, pictures[0].image.shape, np.uint8)
    pictures.append(Placed(noise, pictures[0].place))
    threshold = manifest.thresholds.score_threshold
    expected = [_found(session, picture, threshold) for picture in pictures]
    if not any(len(found) for found in expected):
        # A model of other things than are drawn: whatever it believes most must still agree.
        scores = np.concatenate([_found(session, picture, 0.0).scores for picture in pictures])
        threshold = float(np.median(scores)) if len(scores) else threshold
        expected = [_found(session, picture, threshold) for picture in pictures]
    return _Reference(session, pictures, expected, threshold)


def _fault(session: Session, reference: _Reference) -> str | None:
    """What is past the bounds of the session's precision, or None."""
    precision = session.precision
    if reference.session.precision != "fp32":
        precision = max((precision, reference.session.precision), key=lambda p: BOUNDS[p].box_px)
    at = {"score_threshold": reference.score_threshold}
    thresholds = session.manifest.thresholds.model_copy(update=at)
    differences = Differences(BOUNDS[precision], thresholds)
    for picture, expected in zip(reference.pictures, reference.expected, strict=True):
        differences.compare(expected, _found(session, picture, reference.score_threshold))
    return differences.beyond()


def _found(session: Session, picture: Placed, score_threshold: float) -> Detections:
    iou_threshold = session.manifest.thresholds.iou_threshold
    feed = picture.feed
    (found,) = session.run(feed["images"], feed["image_sizes"], score_threshold, iou_threshold)
    return found


def _median_run_ms(session: Session, picture: Placed) -> float:
    thresholds = session.manifest.thresholds
    times_ms = []
    for _ in range(RUNS):
        began = time.perf_counter()
        _found(session, picture, thresholds.score_threshold)
        times_ms.append((time.perf_counter() - began) * 1000.0)
    return statistics.median(times_ms)
