"""Verification of a whole bundle: what its files say, and what its graphs compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.company import ON_CPU
from export.contract import OPTIONAL_INPUTS
from export.engines.golden import GoldenError, golden_figures
from export.engines.parity import BOUNDS, Detector, Differences
from export.engines.registry import open_session
from export.engines.session import Session
from export.figures import Figure, first_past
from export.inputs import Placed, comparison_batches
from export.lint import faults_of
from export.manifest import (
    MANIFEST_FILE,
    Bundle,
    BundleError,
    Flavour,
    Graph,
    Precision,
    Thresholds,
    write_manifest,
)
from export.measure import measured_ap
from export.plain_session import PlainSession
from export.reference import Reference, check_same_model
from export.stages import Stages, stages_in
from export.verify import LARGEST_BATCH, comparable, examine, largest_batch_of, run
from model.checkpoint import Checkpoint
from model.data.records import DataSet
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.files import sha256_of

AP_DROP: dict[Precision, float] = {
    "fp32": 0.001, "fp16": 0.005, "bf16": 0.01, "int8": 0.01, "fp8": 0.01,
}  # fmt: skip
"""How much AP a graph may lose against the checkpoint, or against the bundle's fp32 graph."""


@dataclass(frozen=True)
class Against:
    """The checkpoint that a bundle should equal, and its file."""

    checkpoint: Checkpoint
    path: Path


@dataclass(frozen=True)
class AuditRule:
    """What to verify a bundle by.

    `engine`: one of `export.engines.registry`, on `device`; by default every graph runs in plain
    ONNX Runtime on the CPU. `precision`: of one graph alone. `pictures`: a folder of pictures to
    compare on besides drawn ones. `data`: labelled pictures for AP at the default scale.
    """

    against: Against | None = None
    data: DataSet | None = None
    pictures: Path | None = None
    engine: str | None = None
    device: str = "cpu"
    precision: Precision | None = None


@dataclass
class GraphAudit:
    """One graph's results: `figures` in the order of the graph, `report` for the manifest."""

    graph: Graph
    engine: str
    figures: list[Figure] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def departure(self) -> Figure | None:
        """The first figure past its bound; None if all are within."""
        return first_past(self.figures)


def audit(bundle: Bundle, rule: AuditRule, say: Callable[[str], None]) -> list[GraphAudit]:
    """The results of every graph, within bounds or not.

    Raises InputError: a bundle whose files are not what it says, or a checkpoint that can't be its
    own.
    """
    if rule.against:
        check_same_model(rule.against.checkpoint, rule.against.path.name, bundle.manifest)
    reference = Reference(rule.against.checkpoint) if rule.against else None
    batches = list(comparison_batches(bundle.manifest, rule.pictures))
    audits: list[GraphAudit] = []
    detectors: list[Detector] = []
    for result, content, detector in _opened(bundle, rule):
        say(f"{result.graph.file} on {result.engine}")
        audits.append(result)
        detectors.append(detector)
        _compare_with_record(result, detector, bundle)
        if reference is not None:
            _compare_with_model(
                result, content, detector, reference, batches, bundle, rule.device == "cpu"
            )
            result.report["against"] = _identity(rule.against)
    if reference is None:
        _compare_with_each_other(audits, detectors, batches, bundle)
    if rule.data is not None:
        _compare_ap(audits, detectors, bundle, rule, rule.data, say)
    if not any(result.figures for result in audits):
        raise InputError(
            f"{bundle.folder}: nothing to compare its graph with, neither golden record "
            "nor other graph; give --against CKPT"
        )
    return audits


def write_results(bundle: Bundle, audits: list[GraphAudit], rule: AuditRule) -> None:
    """Adds the reports to the manifest's `parity`; nothing else of it changes.

    Results on an engine that was asked for go under `engines` and leave those of the CPU alone.
    """
    reports = {result.graph.file: result for result in audits}
    graphs = []
    for graph in bundle.manifest.graphs:
        parity = dict(graph.parity)
        if result := reports.get(graph.file):
            if rule.engine is None:
                parity |= result.report
            else:
                engines = dict(parity.get("engines", {}))
                engines[f"{result.engine} on {rule.device}"] = result.report
                parity["engines"] = engines
        graphs.append(graph.model_copy(update={"parity": parity}))
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}))


def _opened(bundle: Bundle, rule: AuditRule) -> Iterator[tuple[GraphAudit, bytes, Detector]]:
    manifest = bundle.manifest
    if rule.engine is not None:
        session: Session = open_session(bundle.folder, rule.engine, rule.device, rule.precision)
        flavour: Flavour = "cpu" if rule.device == "cpu" else "tensor"
        graph = manifest.graph_of(session.precision, flavour)
        yield GraphAudit(graph, session.engine), b"", session
        return
    wanted = [g for g in manifest.graphs if rule.precision in (None, g.precision)]
    if not wanted:
        manifest.graph_of(rule.precision)  # says what there is
    for graph in wanted:
        content = bundle.graph_path(graph).read_bytes()
        try:
            detector = PlainSession(content)
        except BundleError as error:
            raise BundleError(f"{bundle.folder / graph.file}: {error}") from None
        manifest.check_facts(detector.metadata, graph)
        result = GraphAudit(graph, detector.engine)
        _check_file(result, content, manifest.thresholds)
        yield result, content, detector


def _check_file(result: GraphAudit, content: bytes, thresholds: Thresholds) -> None:
    """BundleError for a graph that is not as `export` writes them."""
    graph, proto = result.graph, onnx.load_from_string(content)
    constants = {entry.name: entry for entry in proto.graph.initializer}
    for name in OPTIONAL_INPUTS:
        if name not in constants:
            continue
        held, said = numpy_helper.to_array(constants[name]).item(), getattr(thresholds, name)
        if np.float32(held) != np.float32(said):
            raise BundleError(
                f"{graph.file} has {name} {held:g}, {MANIFEST_FILE} says {said:g}: "
                "the file was altered; export the bundle again"
            )
    if not stages_in(proto):
        result.notes.append(
            "no named stages (an older export): detections alone are compared, and the file's "
            "form is not checked"
        )
    elif faults := faults_of(proto, graph.flavour, graph.precision):
        raise BundleError(f"{graph.file}: {faults[0]}; export the bundle again")


def _compare_with_record(result: GraphAudit, detector: Detector, bundle: Bundle) -> None:
    graph, thresholds = result.graph, bundle.manifest.thresholds
    try:
        figures = golden_figures(detector, graph.golden, graph.precision, thresholds)
    except GoldenError as error:
        result.notes.append(str(error))
        return
    result.figures += figures
    result.report["golden_record"] = {figure.name: figure.value for figure in figures}


def _compare_with_model(
    result: GraphAudit,
    content: bytes,
    detector: Detector,
    reference: Reference,
    batches: list[list[Placed]],
    bundle: Bundle,
    on_cpu: bool,
) -> None:
    graph = result.graph
    stages = Stages(content) if content else None
    if stages is None:
        result.notes.append("an engine shows no stages: detections alone are compared")
    verdict = examine(
        detector,
        stages,
        reference,
        batches,
        graph.precision,
        bundle.manifest.thresholds,
        largest_batch_of(graph.flavour) if content else LARGEST_BATCH,
        ON_CPU if on_cpu else BOUNDS[graph.precision],
    )
    # Of one graph, stages come first: the first figure past its bound is where it departs.
    result.figures = verdict.figures + result.figures
    result.report |= verdict.report


def _compare_with_each_other(
    audits: list[GraphAudit],
    detectors: list[Detector],
    batches: list[list[Placed]],
    bundle: Bundle,
) -> None:
    """Each graph with the most precise one, where the model is not at hand."""
    order = list(BOUNDS)
    best = min(range(len(audits)), key=lambda i: order.index(audits[i].graph.precision))
    master = audits[best].graph
    thresholds = bundle.manifest.thresholds
    found = sum(len(one) for one in run(detectors[best], batches[0], thresholds))
    thresholds = comparable(found, thresholds)
    for number, (result, detector) in enumerate(zip(audits, detectors, strict=True)):
        if number == best:
            continue
        differences = Differences(BOUNDS[result.graph.precision], thresholds)
        for batch in batches:
            for mine, theirs in zip(
                run(detectors[best], batch, thresholds),
                run(detector, batch, thresholds),
                strict=True,
            ):
                differences.compare(mine, theirs)
        result.figures += differences.figures(f"detections beside {master.file}")
        result.report["beside"] = {"graph": master.file, **differences.report()}


def _compare_ap(
    audits: list[GraphAudit],
    detectors: list[Detector],
    bundle: Bundle,
    rule: AuditRule,
    data: DataSet,
    say: Callable[[str], None],
) -> None:
    manifest = bundle.manifest
    scale, classes = manifest.default_scale, tuple(manifest.classes)
    canvases = manifest.canvases_by_scale[scale]
    name, reference = "", None
    if rule.against:
        name = rule.against.path.name
        say(f"AP of {name} on {len(data.records)} pictures")
        found = detect_records(rule.against.checkpoint, data.records, scale, canvases)
        reference = coco_metrics(data.coco, classes, found)["AP"] or 0.0
    order = list(BOUNDS)
    for result, detector in sorted(
        zip(audits, detectors, strict=True), key=lambda pair: order.index(pair[0].graph.precision)
    ):
        graph = result.graph
        say(f"AP of {graph.file} on {len(data.records)} pictures")
        metrics = measured_ap(detector, data, classes, scale, canvases, manifest.thresholds)
        own = metrics["AP"] or 0.0  # None: nothing to find
        if reference is None:
            name, reference = graph.file, own
        drop = Figure(f"AP against {name}", "drop", reference - own, AP_DROP[graph.precision])
        result.figures.append(drop)
        result.report["ap"] = {
            "data": Path(data.name).name,
            "images": len(data.records),
            "scale": scale,
            "AP": own,
            "AP50": metrics["AP50"],
            "of": name,
            "reference_AP": reference,
        }


def _identity(against: Against | None) -> dict[str, str]:
    assert against is not None
    return {"checkpoint": against.path.name, "sha256": sha256_of(against.path)}
