"""From a checkpoint to a bundle: graphs, their parity, the manifest; all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.inputs import Placed, drawn_pictures, pictures_of, placed
from export.manifest import (
    MANIFEST_FILE,
    METADATA_KEY,
    BundleError,
    Graph,
    Manifest,
    Precision,
    Thresholds,
    manifest_of,
    read_bundle,
    write_manifest,
)
from export.measure import measured_ap
from export.quantize import Feed, quantized
from export.to_onnx import OPSET, to_onnx
from export.verify import VerificationError, verify
from export.view import ExportedView
from model.checkpoint import Checkpoint
from model.data.records import DataSet
from model.errors import InputError
from model.files import sha256_of
from model.letterbox import Canvas, group_canvases

CALIBRATION_PICTURES = 64
MAX_AP_DROP = 0.01
"""How much AP a reduced precision may lose against fp32 on the data given, or export fails."""


@dataclass(frozen=True)
class ExportRule:
    """What to export.

    `precisions`: the first is served unless another is asked for. `calibration`: a folder of
    pictures like those to be served; int8 needs it, verification uses it where given. `data`: a
    labelled set on which every graph's AP is measured.
    """

    name: str
    version: str = "1"
    scales: tuple[int, ...] = ()
    canvases: tuple[Canvas, ...] = ()
    default_scale: int | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    calibration: Path | None = None
    data: DataSet | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)


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
    Raises InputError for bad input, VerificationError when a graph departs from the model.
    """
    out = out.resolve()
    _check_replaceable(out)
    if "int8" in rule.precisions and rule.calibration is None:
        raise InputError(
            "int8 needs --calibration DIR: a folder of pictures like those that will be served"
        )
    groups = group_canvases(rule.scales, rule.canvases)
    manifest_facts = {
        "name": rule.name,
        "version": rule.version,
        "classes": list(checkpoint.classes),
        "anchors": checkpoint.architecture.anchors,
        "canvases": {scale: [str(c) for c in members] for scale, members in groups.items()},
        "default_scale": max(groups) if rule.default_scale is None else rule.default_scale,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "thresholds": rule.thresholds,
        "source": source,
    }
    placeholder = Graph(file="x.onnx", precision="fp32", sha256="0" * 64, opset=OPSET)
    draft = manifest_of({**manifest_facts, "graphs": [placeholder]})
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        graphs, metrics = _graphs(checkpoint, draft, rule, work, say)
        measured = {**checkpoint.metrics, **metrics}
        manifest = manifest_of({**manifest_facts, "graphs": graphs, "metrics": measured})
        write_manifest(work, manifest)
        _replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def _graphs(
    checkpoint: Checkpoint,
    draft: Manifest,
    rule: ExportRule,
    work: Path,
    say: Callable[[str], None],
) -> tuple[list[Graph], dict[str, Any]]:
    canvases = draft.canvases_by_scale
    batches = list(_verification_batches(draft, rule.calibration))
    graphs: list[Graph] = []
    metrics: dict[str, Any] = {}
    protos: dict[Precision, onnx.ModelProto] = {}
    wanted = set(rule.precisions)
    if "int8" in wanted or rule.data is not None:
        # Served or not: int8 is made from it, and its AP is what the others may not lose.
        wanted.add("fp32")
    for precision in sorted(wanted, key=("fp32", "fp16", "int8").index):
        if precision == "int8":
            assert rule.calibration is not None
            say(f"quantizing on pictures of {rule.calibration}")
            proto = quantized(protos["fp32"], _calibration(rule.calibration, draft))
        else:
            model = checkpoint.build()
            model = model.half() if precision == "fp16" else model
            view = ExportedView(model, draft.mean, draft.std, draft.thresholds)
            proto = to_onnx(view)
        protos[precision] = proto
        onnx.helper.set_model_props(proto, {METADATA_KEY: draft.facts(precision)})
        proto.producer_name = "retinaserve"
        content = proto.SerializeToString()
        if precision in rule.precisions:
            file = f"{rule.name}-{precision}.onnx"
            (work / file).write_bytes(content)
            say(f"verifying {file} against the eager model")
            graphs.append(
                Graph(
                    file=file,
                    precision=precision,
                    sha256=sha256_of(work / file),
                    opset=OPSET,
                    parity=verify(content, checkpoint, batches, precision, draft.thresholds),
                )
            )
        if rule.data is not None:
            for scale in draft.scales:
                ap = measured_ap(content, rule.data, checkpoint.classes, scale, canvases[scale])
                metrics.setdefault("export", {}).setdefault(precision, {})[str(scale)] = ap
    _check_ap(metrics.get("export", {}), draft.default_scale)
    graphs.sort(key=lambda graph: rule.precisions.index(graph.precision))
    if rule.data is not None:
        metrics["data"] = {"name": Path(rule.data.name).name, "images": len(rule.data.records)}
    return graphs, metrics


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


def _calibration(folder: Path, draft: Manifest) -> Iterator[Feed]:
    canvases = draft.canvases_by_scale
    for number, picture in enumerate(pictures_of(folder, CALIBRATION_PICTURES)):
        scale = draft.scales[number % len(draft.scales)]
        yield placed(picture, scale, canvases[scale]).feed


def _verification_batches(draft: Manifest, folder: Path | None) -> Iterator[list[Placed]]:
    """Batches of 1 to 3 over every canvas: drawn scenes, noise, and real pictures where given."""
    random = np.random.default_rng(0)
    size = 2  # so that even a single canvas sees a batch
    for scale, canvases in draft.canvases_by_scale.items():
        for canvas in canvases:
            batch = [placed(picture, scale, [canvas]) for picture in drawn_pictures(canvas, size)]
            if size == 2:
                noise = random.integers(0, 256, batch[0].image.shape, dtype=np.uint8)
                batch.append(Placed(noise, batch[0].place))
            yield batch
            size = size % 3 + 1
        if folder is not None:
            for picture in islice(pictures_of(folder, 4), 4):
                yield [placed(picture, scale, canvases)]


def _check_replaceable(out: Path) -> None:
    """InputError unless `out` is new, an empty folder, or a bundle and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file: --out names the bundle's folder")
    held = {path.name for path in out.iterdir()}
    if not held:
        return
    try:
        manifest = read_bundle(out).manifest
    except BundleError:
        raise InputError(f"{out} is not empty and holds no bundle: choose another --out") from None
    if foreign := sorted(held - {MANIFEST_FILE, *(graph.file for graph in manifest.graphs)}):
        raise InputError(
            f"{out} holds {foreign[0]}, which is no part of the bundle and would be lost: "
            "move it away or choose another --out"
        )


def _replace(work: Path, out: Path) -> None:
    """Puts the finished folder in place of the old one."""
    work.chmod(0o755)
    if not out.exists():
        work.rename(out)
        return
    old = out.with_name(f".{out.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    out.rename(old)
    try:
        work.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old)


def source_facts(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the manifest says of a checkpoint."""
    return {
        "checkpoint": path.name,
        "sha256": sha256_of(path),
        "step": checkpoint.step,
        "recipe": checkpoint.recipe,
    }


def precisions_of(text: str) -> Sequence[Precision]:
    """The precisions in a comma separated list; InputError lists those accepted."""
    known: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    chosen = [part.strip() for part in text.split(",")]
    for part in chosen:
        if part not in known:
            raise InputError(f"precision {part!r}: accepted are {', '.join(known)}")
    return [precision for part in dict.fromkeys(chosen) for precision in known if precision == part]
