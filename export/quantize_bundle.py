"""A bundle with an 8-bit graph that loses no more AP than allowed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from tqdm import tqdm

from export.audit import Against, reference_of
from export.calibration import calibration_feeds
from export.folder import check_replaceable, whole_bundle
from export.graph_audit import audited, open_plainly
from export.graph_file import stamped, write_graph
from export.inputs import comparison_batches, records_of
from export.keep_in_float import Search, by_loss_per_saving, search
from export.manifest import Bundle, BundleError, Flavour, Manifest, write_manifest
from export.measure import Found, detections_of_graph
from export.plain_session import PlainSession
from export.qdq import EightBits
from export.quantize import Quantizer
from export.sensitivity import LABEL_SCORE, Change, Detect, Judge
from export.shares import time_shares
from export.verify import VerificationError, batches_for
from model.data.records import DataSet, Record
from model.errors import InputError

Say = Callable[[str], None]


@dataclass(frozen=True)
class QuantizeRule:
    """How to quantize.

    `against`: the checkpoint that the result is compared with (by default, the fp32 graph).
    `pictures`: how many of the folder `calibration` give the ranges. `data`: a labelled set to
    measure AP on; without it, the fp32 graph's own detections in the calibration pictures are the
    labels. `probed`: how many pictures each group alone is measured on.
    """

    calibration: Path
    against: Against | None = None
    data: DataSet | None = None
    max_ap_drop: float = 0.005
    flavour: Flavour = "cpu"
    precision: EightBits = "int8"
    pictures: int = 64
    probed: int = 32


class Probe(NamedTuple):
    """A group of layers: what it alone in 8 bits changes, and its share of the float graph's
    multiply-accumulates and of its time on this CPU (None for other devices' graphs).
    """

    change: Change
    work: float
    time: float | None


@dataclass(frozen=True)
class Quantization:
    """What was tried and found; `groups` in the order of the graph.

    `pictures`: how many the AP is of; `probed`: how many of them the groups were measured on,
    where the fp32 graph's AP is `probed_ap`.
    """

    rule: QuantizeRule
    scale: int
    pictures: int
    probed: int
    probed_ap: float | None
    reference_ap: float | None
    groups: dict[str, Probe]
    search: Search

    @property
    def labels(self) -> str:
        """What AP is measured against."""
        if self.rule.data is not None:
            return self.rule.data.name
        return f"the fp32 graph's own detections above {LABEL_SCORE:g}"

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "flavour": self.rule.flavour,
            "precision": self.rule.precision,
            "scale": self.scale,
            "pictures": self.pictures,
            "labels": self.labels,
            "fp32_AP": self.reference_ap,
            "probed": self.probed,
            "probed_fp32_AP": self.probed_ap,
            "max_AP_drop": self.rule.max_ap_drop,
            "groups": [
                {
                    "group": group,
                    "work_share": probe.work,
                    "time_share": probe.time,
                    **_figures(probe.change),
                }
                for group, probe in self.groups.items()
            ],
            "steps": [
                {"in_float": list(step.in_float), "AP_drop": step.drop, **_figures(step.change)}
                for step in self.search.steps
            ],
            "holds": self.search.in_8_bits is not None,
        }

    def summary(self) -> dict[str, Any]:
        """What the manifest says of the graph."""
        last = self.search.steps[-1]
        return {
            "images": self.pictures,
            "scale": self.scale,
            "labels": self.labels,
            "fp32_AP": self.reference_ap,
            "AP_drop": last.drop,
            **_figures(last.change),
            "in_float": list(last.in_float),
        }


def _figures(change: Change) -> dict[str, Any]:
    return {"AP": change.ap, "mean_score_change": change.score, "mean_box_change": change.box}


def quantize_bundle(bundle: Bundle, rule: QuantizeRule, out: Path, say: Say) -> Quantization:
    """Measures each group, finds what stays in float, and writes a bundle with it to `out`.

    Nothing is written if no choice holds the AP: then `search.in_8_bits` is None.
    Raises InputError for bad input: BundleError for a bundle without the fp32 graphs that it needs;
    VerificationError when the result departs from its reference or is not as it has to be.
    """
    check_replaceable(out)  # before the work
    manifest = bundle.manifest
    # A graph for accelerators takes seconds on a CPU: its trunk is judged with the other end.
    judged = _float_graph(bundle, "cpu")
    source = judged if rule.flavour == "cpu" else _float_graph(bundle, rule.flavour)
    records = rule.data.records if rule.data else records_of(rule.calibration, rule.pictures)
    say(f"calibrating on pictures of {rule.calibration}")
    quantizer = Quantizer(
        judged,
        calibration_feeds(rule.calibration, manifest, rule.pictures),
        rule.flavour,
        rule.precision,
    )
    say(f"measuring the fp32 graph on {len(records)} pictures")
    coco = rule.data.coco if rule.data else None
    judge = Judge.of(judged, manifest.classes, records, coco, _detection(manifest))
    if not judge.coco["annotations"]:
        raise InputError(
            f"the fp32 graph finds nothing above {LABEL_SCORE:g} in the pictures of "
            f"{rule.calibration}: there is no AP to keep; give --data and --images"
        )
    few = judge.spread(rule.probed)
    groups = _probed(quantizer, few, manifest, rule, say)
    reference_ap = judge.ap(judge.reference)
    say("quantizing")
    order = by_loss_per_saving(
        {name: probe.change for name, probe in groups.items()},
        {name: probe.work if probe.time is None else probe.time for name, probe in groups.items()},
    )
    result = search(quantizer, order, judge.change, reference_ap, rule.max_ap_drop, say)
    scale = manifest.default_scale
    found = Quantization(
        rule,
        scale,
        len(records),
        len(few.records),
        few.ap(few.reference),
        reference_ap,
        groups,
        result,
    )
    if result.in_8_bits is not None:
        if source is not judged:
            quantizer = Quantizer(
                source,
                calibration_feeds(rule.calibration, manifest, rule.pictures),
                rule.flavour,
                rule.precision,
            )
        _write(bundle, quantizer.graph(result.in_8_bits), found, out, say)
    return found


def _probed(
    quantizer: Quantizer, few: Judge, manifest: Manifest, rule: QuantizeRule, say: Say
) -> dict[str, Probe]:
    trunk = quantizer.trunk
    work = trunk.work(manifest.canvases_by_scale[manifest.default_scale][0])
    time = (
        time_shares(trunk, next(calibration_feeds(rule.calibration, manifest, rule.pictures)))
        if rule.flavour == "cpu"
        else {}
    )
    say(f"each of {len(trunk.groups)} groups alone in 8 bits, on {len(few.records)} pictures")
    probes = {}
    for number, group in enumerate(trunk.groups, 1):
        change = few.change(quantizer.graph([group]))
        probes[group] = Probe(change, work[group] / sum(work.values()), time.get(group))
        say(f"  {number} {group}: score {change.score:.5f}, box {change.box:.5f}")
    return probes


def _float_graph(bundle: Bundle, flavour: Flavour) -> onnx.ModelProto:
    try:
        graph = bundle.manifest.graph_of("fp32", flavour)
    except BundleError as error:
        raise BundleError(
            f"{error}; quantization starts from it: export it again with it"
        ) from None
    return onnx.load(bundle.graph_path(graph))


def _detection(manifest: Manifest) -> Detect:
    scale = manifest.default_scale
    canvases = manifest.canvases_by_scale[scale]

    def detect(graph: onnx.ModelProto, records: Sequence[Record]) -> Found:
        session = PlainSession(graph.SerializeToString())
        with tqdm(total=len(records), unit="image", leave=False, disable=None) as bar:
            return detections_of_graph(
                session, records, scale, canvases, manifest.thresholds, progress=bar.update
            )

    return detect


def _write(
    bundle: Bundle, graph: onnx.ModelProto, found: Quantization, out: Path, say: Say
) -> None:
    """The bundle with this graph, in the place of the one of the same kind or before all others."""
    manifest, rule = bundle.manifest, found.rule
    kind = (rule.precision, rule.flavour)
    batches = batches_for(rule.flavour, list(comparison_batches(manifest, rule.calibration)))
    reference = reference_of(bundle, rule.against)
    with whole_bundle(out) as folder:
        new = write_graph(folder, stamped(graph, manifest, *kind), manifest, *kind)
        say(f"verifying {new.file} beside {reference.name}")
        result = audited(
            open_plainly(Bundle(folder, manifest), new), reference, batches, manifest.thresholds
        )
        if past := result.departure:
            raise VerificationError(f"{new.file} beside {reference.name}: {past}")
        if rule.against:
            result.report["against"] = rule.against.identity
        parity = {**result.report, "quantization": found.summary()}
        new = new.model_copy(update={"parity": parity})
        same = [old for old in manifest.graphs if (old.precision, old.flavour) == kind]
        graphs = [old for old in manifest.graphs if old not in same]
        for old in graphs:
            shutil.copyfile(bundle.graph_path(old), folder / old.file)
        graphs.insert(manifest.graphs.index(same[0]) if same else 0, new)
        write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))
