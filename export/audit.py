"""Verification of a whole bundle: what its files say, and what its graphs compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.engines.parity import BOUNDS
from export.engines.registry import open_session
from export.figures import Figure
from export.graph_audit import GraphAudit, Opened, audited, open_plainly
from export.graph_reference import GraphReference
from export.inputs import comparison_batches
from export.manifest import Bundle, Flavour, Graph, Manifest, Precision, write_manifest
from export.measure import measured_ap
from export.reference import EagerModel, Reference, check_same_model
from model.checkpoint import Checkpoint
from model.data.records import DataSet
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.files import sha256_of

AP_DROP: dict[Precision, float] = {
    "fp32": 0.001, "fp16": 0.005, "bf16": 0.01, "int8": 0.01, "fp8": 0.01,
}  # fmt: skip
"""How much AP a graph may lose against its reference."""


@dataclass(frozen=True)
class Against:
    """The checkpoint that a bundle should equal, and its file."""

    checkpoint: Checkpoint
    path: Path

    @property
    def identity(self) -> dict[str, str]:
        """For the manifest."""
        return {"checkpoint": self.path.name, "sha256": sha256_of(self.path)}


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


def audit(bundle: Bundle, rule: AuditRule, say: Callable[[str], None]) -> list[GraphAudit]:
    """The results of every graph, within bounds or not.

    They are compared with the checkpoint; without one with the bundle's most precise graph in plain
    ONNX Runtime, which is itself compared with its golden record.
    Raises InputError: a bundle whose files are not what it says, or a checkpoint that can't be its
    own.
    """
    manifest = bundle.manifest
    master = None if rule.against else _most_precise(manifest)
    reference = reference_of(bundle, rule.against)
    batches = list(comparison_batches(manifest, rule.pictures))
    pairs = []
    for opened in _opened(bundle, rule):
        own = reference if opened.graph != master or rule.engine else None
        beside = f", beside {own.name}" if own else ""
        say(f"{opened.graph.file} on {opened.detector.engine}{beside}")
        result = audited(opened, own, batches, manifest.thresholds, rule.device == "cpu")
        if rule.against:
            result.report["against"] = rule.against.identity
        pairs.append((result, opened))
    if rule.data is not None:
        _compare_ap(pairs, bundle, rule, rule.data, say)
    audits = [result for result, _ in pairs]
    if all(figure.stage == "company" for result in audits for figure in result.figures):
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


def reference_of(bundle: Bundle, against: Against | None) -> Reference:
    """The checkpoint's model, or the bundle's most precise graph.

    InputError for a checkpoint that can't be the bundle's.
    """
    if against is None:
        opened = open_plainly(bundle, _most_precise(bundle.manifest))
        return GraphReference(opened.content, opened.detector, opened.graph.file)
    check_same_model(against.checkpoint, against.path.name, bundle.manifest)
    return EagerModel(against.checkpoint, against.path.name)


def _most_precise(manifest: Manifest) -> Graph:
    """The graph that others are compared with: of one precision, the one for CPUs."""
    order = list(BOUNDS)
    return min(manifest.graphs, key=lambda g: (order.index(g.precision), g.flavour != "cpu"))


def _opened(bundle: Bundle, rule: AuditRule) -> Iterator[Opened]:
    manifest = bundle.manifest
    if rule.engine is not None:
        session = open_session(bundle.folder, rule.engine, rule.device, rule.precision)
        flavour: Flavour = "cpu" if rule.device == "cpu" else "tensor"
        yield Opened(manifest.graph_of(session.precision, flavour), session)
        return
    wanted = [g for g in manifest.graphs if rule.precision in (None, g.precision)]
    if not wanted:
        manifest.graph_of(rule.precision)  # says what there is
    for graph in wanted:
        yield open_plainly(bundle, graph)


def _compare_ap(
    pairs: list[tuple[GraphAudit, Opened]],
    bundle: Bundle,
    rule: AuditRule,
    data: DataSet,
    say: Callable[[str], None],
) -> None:
    manifest = bundle.manifest
    scale, classes = manifest.default_scale, tuple(manifest.classes)
    canvases = manifest.canvases_by_scale[scale]

    def ap_of(opened: Opened) -> dict[str, Any]:
        say(f"AP of {opened.graph.file} on {len(data.records)} pictures")
        return measured_ap(opened.detector, data, classes, scale, canvases, manifest.thresholds)

    master = None
    if rule.against:
        name = rule.against.path.name
        say(f"AP of {name} on {len(data.records)} pictures")
        with tqdm(total=len(data.records), unit="image", leave=False, disable=None) as bar:
            found = detect_records(
                rule.against.checkpoint, data.records, scale, canvases, progress=bar.update
            )
        expected = coco_metrics(data.coco, classes, found)
    else:
        master = _most_precise(manifest)
        name, expected = master.file, ap_of(open_plainly(bundle, master))
    reference = expected["AP"] or 0.0  # None: nothing to find
    for result, opened in pairs:
        itself = result.graph == master and rule.engine is None
        metrics = expected if itself else ap_of(opened)
        own = metrics["AP"] or 0.0
        result.report["ap"] = {
            "data": Path(data.name).name,
            "images": len(data.records),
            "scale": scale,
            "AP": own,
            "AP50": metrics["AP50"],
        }
        if not itself:
            result.report["ap"] |= {"of": name, "reference_AP": reference}
            bound = AP_DROP[result.graph.precision]
            result.figures.append(Figure(f"AP against {name}", "drop", reference - own, bound))
