"""From a checkpoint to a bundle: graphs, their parity, the manifest; all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import onnx

from export.calibration import calibration_feeds
from export.draft import draft_facts
from export.folder import whole_bundle
from export.graph_file import file_name, stamped, write_graph
from export.inputs import comparison_batches
from export.lint import MOST_TOP_K, faults_of
from export.manifest import (
    Flavour,
    Graph,
    Manifest,
    Precision,
    Thresholds,
    manifest_of,
    write_manifest,
)
from export.measure import measured_ap
from export.plain_session import PlainSession
from export.quantize import quantized
from export.to_onnx import OPSET, to_onnx
from export.verify import VerificationError, batches_for, verify
from export.view import ExportedView
from model.checkpoint import Checkpoint
from model.data.records import DataSet
from model.errors import InputError
from model.letterbox import Canvas

CALIBRATION_PICTURES = 64
MAX_AP_DROP = 0.01
"""How much AP a reduced precision may lose against fp32 on the data given, or export fails."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""What export makes, in the order in which it does: int8 from fp32."""

FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)


@dataclass(frozen=True)
class ExportRule:
    """What to export: each of `precisions` in each of `flavours`, the first of them to be served.

    `calibration`: a folder of pictures like those to be served; int8 needs it, verification uses it
    where given. `data`: a labelled set on which the AP of every cpu graph is measured.
    """

    name: str | None = None
    version: str = "1"
    scales: tuple[int, ...] = ()
    canvases: tuple[Canvas, ...] = ()
    default_scale: int | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    flavours: tuple[Flavour, ...] = ("cpu",)
    calibration: Path | None = None
    data: DataSet | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        if "int8" in self.precisions and self.calibration is None:
            raise InputError(
                "int8 needs --calibration DIR: a folder of pictures like those that will be served"
            )
        if self.data is not None and "cpu" not in self.flavours:
            raise InputError("--data: AP is measured on graphs of flavour cpu; add it to --flavour")
        if "tensor" in self.flavours:
            for name in ("pre_nms_top_k", "max_detections"):
                if (value := getattr(self.thresholds, name)) > MOST_TOP_K:
                    raise InputError(
                        f"{name} {value}: accepted with flavour tensor are 1 to {MOST_TOP_K}"
                    )


def export_bundle(
    checkpoint: Checkpoint,
    source: dict[str, Any],
    out: Path,
    rule: ExportRule,
    say: Callable[[str], None],
) -> Manifest:
    """Writes a bundle into `out`, a folder that is new, empty or a bundle, once its graphs agree.

    `source` goes into the manifest: what the graphs were made from. Nothing is left behind and an
    old bundle stays as it was when anything fails.
    Raises InputError for bad input, VerificationError when a graph departs from the model or is not
    as it has to be.
    """
    facts = draft_facts(
        checkpoint,
        source,
        name=rule.name,
        version=rule.version,
        scales=rule.scales,
        canvases=rule.canvases,
        default_scale=rule.default_scale,
        thresholds=rule.thresholds,
    )
    placeholder = Graph(file="x.onnx", precision="fp32", sha256="0" * 64, opset=OPSET)
    draft = manifest_of({**facts, "graphs": [placeholder]})
    with whole_bundle(out) as folder:
        graphs, metrics = _graphs(checkpoint, draft, rule, folder, say)
        measured = {**checkpoint.metrics, **metrics}
        manifest = manifest_of({**facts, "graphs": graphs, "metrics": measured})
        write_manifest(folder, manifest)
    return manifest


def _graphs(
    checkpoint: Checkpoint,
    draft: Manifest,
    rule: ExportRule,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[list[Graph], dict[str, Any]]:
    batches = list(comparison_batches(draft, rule.calibration))
    graphs: dict[tuple[Flavour, Precision], Graph] = {}
    ap: dict[str, Any] = {}
    for flavour in rule.flavours:
        for precision, proto in _protos(checkpoint, draft, rule, flavour, say):
            content = stamped(proto, draft, precision, flavour)
            if precision in rule.precisions:
                file = file_name(draft, precision, flavour)
                say(f"verifying {file} against the eager model")
                if faults := faults_of(proto, flavour, precision):
                    raise VerificationError(f"{file}: {'; '.join(faults)}")
                seen = batches_for(flavour, batches)
                parity = verify(content, checkpoint, seen, precision, draft.thresholds)
                graph = write_graph(folder, content, draft, precision, flavour)
                graphs[flavour, precision] = graph.model_copy(update={"parity": parity})
            if rule.data is not None and flavour == "cpu":
                ap[precision] = _ap_by_scale(content, rule.data, draft)
    _check_ap(ap, draft.default_scale)
    ordered = [
        graphs[flavour, precision] for flavour in rule.flavours for precision in rule.precisions
    ]
    if rule.data is None:
        return ordered, {}
    data = {"name": Path(rule.data.name).name, "images": len(rule.data.records)}
    return ordered, {"export": ap, "data": data}


def _protos(
    checkpoint: Checkpoint,
    draft: Manifest,
    rule: ExportRule,
    flavour: Flavour,
    say: Callable[[str], None],
) -> Iterator[tuple[Precision, onnx.ModelProto]]:
    """The graphs of a flavour, and the fp32 one also where it is not to be served: int8 is made
    from it, and its AP is what the others may not lose.
    """
    wanted = set(rule.precisions)
    if "int8" in wanted or (rule.data is not None and flavour == "cpu"):
        wanted.add("fp32")
    made: dict[Precision, onnx.ModelProto] = {}
    for precision in (known for known in PRECISIONS if known in wanted):
        if precision == "int8":
            assert rule.calibration is not None
            say(f"making the int8 graph of flavour {flavour}, on pictures of {rule.calibration}")
            feeds = calibration_feeds(rule.calibration, draft, CALIBRATION_PICTURES)
            made[precision] = quantized(made["fp32"], feeds, flavour)
        else:
            say(f"making the {precision} graph of flavour {flavour}")
            model = checkpoint.build()
            model = model.half() if precision == "fp16" else model
            view = ExportedView(model, draft.mean, draft.std, draft.thresholds, flavour)
            made[precision] = to_onnx(view)
        yield precision, made[precision]


def _ap_by_scale(graph: bytes, data: DataSet, draft: Manifest) -> dict[str, Any]:
    session = PlainSession(graph)
    return {
        str(scale): measured_ap(session, data, draft.classes, scale, canvases, draft.thresholds)
        for scale, canvases in draft.canvases_by_scale.items()
    }


def _check_ap(by_precision: dict[str, Any], scale: int) -> None:
    if "fp32" not in by_precision:
        return
    reference = by_precision["fp32"][str(scale)]["AP"] or 0.0  # None: nothing to find
    for precision, by_scale in by_precision.items():
        drop = reference - (by_scale[str(scale)]["AP"] or 0.0)
        if drop > MAX_AP_DROP:
            raise VerificationError(
                f"{precision} loses {drop:.4f} AP against fp32 ({reference}) at scale {scale}; "
                f"accepted is {MAX_AP_DROP}"
            )


def precisions_of(text: str) -> list[Precision]:
    """The precisions in a comma separated list; InputError lists those accepted."""
    return _chosen("precision", text, PRECISIONS)


def flavours_of(text: str) -> list[Flavour]:
    """The flavours in a comma separated list; InputError lists those accepted."""
    return _chosen("flavour", text, FLAVOURS)


_Word = TypeVar("_Word", bound=str)


def _chosen(what: str, text: str, known: Sequence[_Word]) -> list[_Word]:
    """The known words in a comma separated list, in its order, each once."""
    words: dict[str, _Word] = {word: word for word in known}
    chosen = dict.fromkeys(part.strip() for part in text.split(","))
    for part in chosen:
        if part not in words:
            raise InputError(f"{what} {part!r}: accepted are {', '.join(known)}")
    return [words[part] for part in chosen]
