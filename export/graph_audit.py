"""One graph of a bundle: its file checked, compared with its golden record and with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.company import AloneTally, cpu_bounds
from export.contract import OPTIONAL_INPUTS
from export.engines.golden import GoldenError, golden_figures
from export.engines.parity import BOUNDS, Bounds
from export.engines.session import Session
from export.figures import Figure, first_past
from export.graph_reference import GraphReference
from export.inputs import Placed, run
from export.lint import faults_of
from export.manifest import MANIFEST_FILE, Bundle, BundleError, Graph, Thresholds
from export.plain_session import PlainSession
from export.reference import Reference
from export.stages import Stages, stages_in
from export.verify import LARGEST_BATCH, comparable, examine, largest_batch_of, smallest_canvas


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


@dataclass(frozen=True)
class Opened:
    """A graph and what runs it. `content`: its file, where that is what runs."""

    graph: Graph
    detector: PlainSession | Session
    content: bytes = b""


def open_plainly(bundle: Bundle, graph: Graph) -> Opened:
    """A bundle's graph in plain ONNX Runtime on the CPU.

    BundleError unless its hash and its metadata are what the manifest says.
    """
    content = bundle.graph_path(graph).read_bytes()
    try:
        session = PlainSession(content)
    except BundleError as error:
        raise BundleError(f"{bundle.folder / graph.file}: {error}") from None
    bundle.manifest.check_facts(session.metadata, graph)
    return Opened(graph, session, content)


def audited(
    opened: Opened,
    reference: Reference | None,
    batches: Sequence[Sequence[Placed]],
    thresholds: Thresholds,
    on_cpu: bool = True,
) -> GraphAudit:
    """The results of a graph, within bounds or not.

    Without a reference they are those of its golden record and of its company.
    Raises BundleError for a file that is not as `export` writes them.
    """
    graph, content = opened.graph, opened.content
    result = GraphAudit(graph, opened.detector.engine)
    if content:
        _check_file(result, content, thresholds)
    alone_bounds = cpu_bounds(graph.precision) if on_cpu else BOUNDS[graph.precision]
    largest = largest_batch_of(graph.flavour) if content else LARGEST_BATCH
    if reference is None:
        _compare_company(result, opened, batches, thresholds, largest, alone_bounds)
    else:
        if not content:
            result.notes.append("an engine shows no stages: detections alone are compared")
        verdict = examine(
            opened.detector,
            Stages(content) if content else None,
            reference,
            batches,
            graph.precision,
            thresholds,
            largest,
            alone_bounds,
        )
        result.figures += verdict.figures
        if isinstance(reference, GraphReference):
            # Apart from the figures against the model, which are worth more.
            result.report["beside"] = {"graph": reference.name, **verdict.report}
        else:
            result.report |= verdict.report
    # Of one graph, stages come first: the first figure past its bound is where it departs.
    _compare_with_record(result, opened, thresholds)
    return result


def _check_file(result: GraphAudit, content: bytes, thresholds: Thresholds) -> None:
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


def _compare_company(
    result: GraphAudit,
    opened: Opened,
    batches: Sequence[Sequence[Placed]],
    thresholds: Thresholds,
    largest: int,
    bounds: Bounds,
) -> None:
    found = run(opened.detector, batches[0], thresholds)
    tally = AloneTally(comparable(sum(map(len, found)), thresholds), bounds)
    tally.add_companies(opened.detector, smallest_canvas(batches), largest)
    result.figures += tally.figures()
    result.report |= tally.report()


def _compare_with_record(result: GraphAudit, opened: Opened, thresholds: Thresholds) -> None:
    graph = result.graph
    try:
        figures = golden_figures(opened.detector, graph.golden, graph.precision, thresholds)
    except GoldenError as error:
        result.notes.append(str(error))
        return
    result.figures += figures
    result.report["golden_record"] = {figure.name: figure.value for figure in figures}
