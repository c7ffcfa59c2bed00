"""The bundle: a directory with `manifest.json` and graph files, all that the service trusts.

No torch and no onnx here: the service reads bundles with this file alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from model.errors import InputError
from model.files import sha256_of, whole_file
from model.geometry import STRIDES, AnchorSpec
from model.letterbox import LONG_SIDE_CAP, Canvas

FORMAT: Final = 1
"""The manifest format that this version writes and reads."""

MANIFEST_FILE = "manifest.json"
METADATA_KEY = "retinaserve"
"""Where a graph's own ONNX metadata holds the facts (JSON) that must agree with the manifest."""

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Flavour = Literal["cpu", "tensor"]
"""What a graph is made of: `cpu` ends in ONNX NonMaxSuppression, `tensor` is plain tensor operators
of static shapes throughout, for accelerators; see `export.view`."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class BundleError(InputError):
    """A bundle that can't be trusted; the message says what is wrong and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resize(_Part):
    """How an image becomes a canvas; see `model.letterbox`."""

    rule: Literal["shorter_side"] = "shorter_side"
    long_side_cap: float = LONG_SIDE_CAP
    filter: Literal["bilinear_antialias"] = "bilinear_antialias"


class Thresholds(_Part):
    """The defaults and caps of post-processing (paper, sec. 4.1)."""

    score_threshold: Fraction = 0.05
    iou_threshold: Fraction = 0.5
    pre_nms_top_k: Annotated[int, Field(ge=1)] = 1000
    max_detections: Annotated[int, Field(ge=1)] = 300

    @model_validator(mode="after")
    def _enough_candidates(self) -> Thresholds:
        most = self.pre_nms_top_k * len(STRIDES)
        if self.max_detections > most:
            raise ValueError(f"max_detections {self.max_detections}: accepted are 1 to {most}")
        return self


class Golden(_Part):
    """What a graph found at export in a picture that can be drawn again; see
    `export.engines.golden`.

    `picture`: which of `export.inputs.drawn_pictures`; `sha256` of its canvas as drawn then.
    `boxes` in canvas pixels, by descending score.
    """

    picture: int
    canvas: str
    sha256: str
    score_threshold: float
    boxes: list[tuple[float, float, float, float]]
    scores: list[float]
    classes: list[int]


class Graph(_Part):
    """One graph file: `parity` holds the figures that `verify` measured on it, `golden` what it
    found then, so that an engine that loads it can be compared without the model.
    """

    file: str
    precision: Precision
    flavour: Flavour = "cpu"
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    opset: int
    parity: dict[str, Any] = {}
    golden: list[Golden] = []

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        if not name or name != Path(name).name:
            raise ValueError("a graph file lies directly in the bundle: give a plain file name")
        return name


class Manifest(_Part):
    """What a bundle's graphs are, how to feed them, and what was measured on them."""

    format: Literal[1] = FORMAT
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    classes: Annotated[list[str], Field(min_length=1)]
    strides: tuple[int, ...] = STRIDES
    anchors: AnchorSpec
    resize: Resize = Resize()
    canvases: dict[int, list[str]]
    """The canvases (HEIGHTxWIDTH) of each scale, scales ascending."""
    default_scale: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    thresholds: Thresholds = Thresholds()
    graphs: Annotated[list[Graph], Field(min_length=1)]
    """The graph files; of each flavour, the first is served unless a precision is asked for."""
    source: dict[str, Any] = {}
    """What the graphs were exported from: recipe, checkpoint hash, training facts."""
    metrics: dict[str, Any] = {}
    """What the model reaches on named data, where known."""

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if len(set(self.classes)) != len(self.classes) or not all(self.classes):
            raise ValueError("class names must be distinct and not empty")
        if not self.canvases or not all(self.canvases.values()):
            raise ValueError("every scale needs at least one canvas")
        for texts in self.canvases.values():
            for text in texts:
                Canvas.parse(text)
        if self.default_scale not in self.canvases:
            raise ValueError(
                f"default_scale {self.default_scale} is not one of {sorted(self.canvases)}"
            )
        if self.strides != STRIDES:
            raise ValueError(f"strides {self.strides}: this version serves {STRIDES}")
        if self.resize != Resize():
            raise ValueError(f"resize rule {self.resize}: this version serves {Resize()}")
        return self

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales that a request may choose, ascending."""
        return tuple(sorted(self.canvases))

    @cached_property
    def canvases_by_scale(self) -> dict[int, tuple[Canvas, ...]]:
        """`canvases`, parsed."""
        return {s: tuple(Canvas.parse(t) for t in self.canvases[s]) for s in self.scales}

    def graph_of(self, precision: Precision | None = None, flavour: Flavour = "cpu") -> Graph:
        """The graph of a flavour and precision, or the flavour's first.

        BundleError lists what there is.
        """
        for graph in self.graphs:
            if graph.flavour == flavour and precision in (None, graph.precision):
                return graph
        wanted = f"{flavour} graph" if precision is None else f"{precision} {flavour} graph"
        held = ", ".join(f"{graph.precision} {graph.flavour}" for graph in self.graphs)
        if precision == "bf16":
            make = "only a checkpoint runs in bf16, by engine torch"
        elif precision in ("int8", "fp8"):
            make = "`retinaserve quantize` makes one"
        else:
            options = f"--flavour {flavour} --precision {precision or 'fp32'}"
            make = f"`retinaserve export CHECKPOINT --out DIR {options}` makes one"
        raise BundleError(f"bundle {self.name!r} has no {wanted}; it holds {held}; {make}")

    def facts(self, precision: Precision, flavour: Flavour = "cpu") -> str:
        """The JSON that the graph of a precision and flavour carries in its own metadata."""
        keys = {
            "format", "name", "version", "classes", "strides", "anchors", "resize",
            "canvases", "default_scale", "mean", "std", "thresholds",
        }  # fmt: skip
        facts = self.model_dump(mode="json", include=keys)
        return json.dumps(facts | {"precision": precision, "flavour": flavour}, sort_keys=True)

    def check_facts(self, metadata: Mapping[str, str], graph: Graph) -> None:
        """BundleError unless a graph's own metadata agrees with this manifest."""
        try:
            theirs = json.loads(metadata.get(METADATA_KEY, ""))
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            raise BundleError(f"{graph.file} carries no {METADATA_KEY!r} metadata: export it again")
        theirs = {"flavour": "cpu"} | theirs  # graphs from before there was another say nothing
        mine = json.loads(self.facts(graph.precision, graph.flavour))
        differing = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        if differing:
            raise BundleError(
                f"{graph.file} and {MANIFEST_FILE} disagree on {', '.join(differing)}: "
                "the files are not of one export; export the bundle again"
            )


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest has been read."""

    folder: Path
    manifest: Manifest

    def graph_path(self, graph: Graph) -> Path:
        """The graph's file after checking its hash; BundleError if missing or altered."""
        path = self.folder / graph.file
        if not path.is_file():
            raise BundleError(f"{path}: the graph file that {MANIFEST_FILE} names is missing")
        found = sha256_of(path)
        if found != graph.sha256:
            raise BundleError(
                f"{path}: sha256 is {found[:12]}... but {MANIFEST_FILE} says "
                f"{graph.sha256[:12]}...: the file was altered; export the bundle again"
            )
        return path


def read_bundle(folder: Path) -> Bundle:
    """The bundle in a folder; BundleError says in a sentence what is wrong with it."""
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{folder}: no bundle here; a bundle is a folder with {MANIFEST_FILE}, "
            "made by `retinaserve export`"
        ) from None
    except OSError as error:
        raise BundleError(f"{path}: can't be read ({error.strerror})") from None
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from None
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path}: manifest format {found!r}; this version reads format {FORMAT}: "
            "export the checkpoint again with this version, or serve it with the one that wrote it"
        )
    try:
        return Bundle(folder, manifest_of(raw))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def manifest_of(raw: Mapping[str, Any]) -> Manifest:
    """The manifest of these entries; BundleError names the first one that can't be."""
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise BundleError(f"{where}: {what}" if where else what) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`, whole or not at all."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    with whole_file(folder / MANIFEST_FILE) as part:
        part.write_text(text, encoding="utf-8")
