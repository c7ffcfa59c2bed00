"""A bundle made for measuring, from a checkpoint or from an architecture alone: not verified."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import onnx

from export.calibration import Feed
from export.draft import DEFAULT_SCALE, draft_facts
from export.engines.torch_session import manifest_of_checkpoint
from export.inputs import drawn_pictures, placed
from export.manifest import (
    METADATA_KEY,
    Flavour,
    Graph,
    Manifest,
    Precision,
    manifest_of,
    write_manifest,
)
from export.qdq import EightBits
from export.quantize import quantized
from export.to_onnx import OPSET, to_onnx
from export.view import ExportedView
from loadtest.bench.lively import lively_checkpoint
from loadtest.bench.subject import Subject
from model.backbones.registry import BACKBONES
from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.errors import InputError
from model.files import sha256_of
from model.letterbox import Canvas
from model.retinanet import RetinaNet

CALIBRATION_PICTURES = 4
"""Enough for ranges of a model whose accuracy nobody asks for."""

LIVELY_CANVAS = Canvas(480, 640)


@dataclass(frozen=True)
class Wanted:
    """What a bundle is to hold: scales with their standard canvases, and graphs of a flavour.

    `num_classes` and `head_width` are an architecture's alone.
    """

    scales: tuple[int, ...]
    precisions: tuple[Precision, ...]
    flavour: Flavour = "cpu"
    num_classes: int = 80
    head_width: int = 256


def subject_of_architecture(
    name: str, wanted: Wanted, folder: Path, say: Callable[[str], None]
) -> Subject:
    """A RetinaNet of the paper's form on a backbone, random weights, as files in `folder`."""
    say(f"making {name}: random weights, {wanted.num_classes} classes")
    checkpoint = lively_checkpoint(
        name, wanted.num_classes, LIVELY_CANVAS, head_width=wanted.head_width
    )
    path = folder / f"{name}.pt"
    save_checkpoint(path, checkpoint)
    return subject_of_checkpoint(path, wanted, folder, say)


def subject_of_checkpoint(
    path: Path, wanted: Wanted, folder: Path, say: Callable[[str], None]
) -> Subject:
    """A checkpoint, and a bundle of it in `folder` if any graph is wanted."""
    checkpoint = load_checkpoint(path)
    name = checkpoint.recipe.get("name", path.stem)
    out = folder / name
    if wanted.precisions:
        say(f"making graphs of {name} ({', '.join(wanted.precisions)}), which nobody verifies")
        manifest = _write_bundle(checkpoint, name, wanted, out)
    else:
        manifest = manifest_of_checkpoint(path, checkpoint, "fp32", wanted.scales)
    return Subject(name, out, manifest, path, checkpoint.architecture.backbone)


def check_architectures(names: Sequence[str]) -> None:
    """InputError that lists the backbones unless all are known."""
    for name in names:
        if name not in BACKBONES:
            raise InputError(f"--arch {name}: accepted are {', '.join(BACKBONES)}")


def scale_of(path: Path) -> int:
    """The scale that a checkpoint was trained at."""
    return int(load_checkpoint(path).recipe.get("train", {}).get("scale", DEFAULT_SCALE))


def _write_bundle(checkpoint: Checkpoint, name: str, wanted: Wanted, out: Path) -> Manifest:
    out.mkdir()
    graphs = [
        Graph(
            file=f"{name}-{precision}.onnx",
            precision=precision,
            flavour=wanted.flavour,
            sha256="0" * 64,
            opset=OPSET,
        )
        for precision in wanted.precisions
    ]
    facts = draft_facts(checkpoint, {}, name=name, scales=wanted.scales)
    draft = manifest_of({**facts, "graphs": graphs})
    hashed = []
    for graph, proto in zip(graphs, _graphs(checkpoint, draft, wanted), strict=True):
        metadata = {METADATA_KEY: draft.facts(graph.precision, graph.flavour)}
        onnx.helper.set_model_props(proto, metadata)
        onnx.save(proto, out / graph.file)
        hashed.append(graph.model_copy(update={"sha256": sha256_of(out / graph.file)}))
    manifest = draft.model_copy(update={"graphs": hashed})
    write_manifest(out, manifest)
    return manifest


def _graphs(checkpoint: Checkpoint, draft: Manifest, wanted: Wanted) -> Iterator[onnx.ModelProto]:
    """The graph of each precision wanted."""

    def converted(model: RetinaNet) -> onnx.ModelProto:
        view = ExportedView(model, draft.mean, draft.std, draft.thresholds, wanted.flavour)
        return to_onnx(view)

    fp32 = None
    for precision in wanted.precisions:
        if precision == "fp16":
            yield converted(checkpoint.build().half())
            continue
        fp32 = fp32 or converted(checkpoint.build())
        if precision in get_args(EightBits):
            yield quantized(fp32, _feeds(draft), wanted.flavour, cast(EightBits, precision))
        else:
            yield copy.deepcopy(fp32)  # the caller adds to it


def _feeds(draft: Manifest) -> Iterator[Feed]:
    scale = min(draft.scales)
    canvases = draft.canvases_by_scale[scale]
    for picture in drawn_pictures(canvases[0], CALIBRATION_PICTURES):
        yield placed(picture, scale, canvases).feed
