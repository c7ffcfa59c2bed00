"""Recipes: small TOML files that say how a model is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.data.augment import Augmentation
from model.data.sources import Source
from model.errors import InputError
from model.geometry import AnchorSpec
from model.letterbox import Canvas
from model.losses import LossRule
from model.matching import Matching

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """The architecture; see `model.retinanet.Architecture`."""

    backbone: str = "resnet50"
    backbone_weights: Path | None = None
    """A torchvision classification file; without it the backbone starts from random weights."""
    head_width: Positive = 256
    head_depth: Count = 4
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    anchors: AnchorSpec = AnchorSpec()


class DataSection(_Section):
    """What to train on and what to choose by."""

    train: Annotated[list[Source], Field(min_length=1)]
    val: Source | None = None


class OptimizerSection(_Section):
    """The optimiser and its schedule, in steps. Defaults of the paper, sec. 4.1, for 16 images."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    backbone_lr_factor: Annotated[float, Field(ge=0)] = 1.0
    warmup_steps: Count = 500
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)
    """Shares of the run after which a step schedule divides the rate by 10 (60k, 80k of 90k)."""
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """Bound on the gradient's norm; 0 leaves it alone."""


class TrainSection(_Section):
    """The loop."""

    steps: Positive = 90_000
    batch_size: Positive = 16
    scale: Positive = 600
    canvas: str = "608x1024"
    seed: Count = 0
    workers: Count = 2
    precision: Literal["fp32", "bf16"] = "fp32"
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is evaluated and kept; 0 for none."""
    evaluate_every: Positive = 5_000
    checkpoint_every: Positive = 500

    @model_validator(mode="after")
    def _canvas_is_one(self) -> TrainSection:
        Canvas.parse(self.canvas)
        return self


class Recipe(_Section):
    """A whole training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    classes: tuple[str, ...] | None = None
    """Class list in head order; without it, what the first training set says."""
    model: ModelSection = ModelSection()
    data: DataSection
    augment: Augmentation = Augmentation()
    matching: Matching = Matching()
    loss: LossRule = LossRule()
    optimizer: OptimizerSection = OptimizerSection()
    train: TrainSection = TrainSection()

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> Recipe:
        if self.classes is not None and not 0 < len(set(self.classes)) == len(self.classes):
            raise InputError(f"classes {list(self.classes)}: give one or more distinct names")
        return self


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with `key.subkey=value` overrides (values written as in TOML).

    Raises InputError that names an unknown or wrong key and what is accepted.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    for text in overrides:
        _override(raw, text)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: dict[str, Any], where: str) -> Recipe:
    """The recipe of a parsed TOML table; InputError names the key at fault."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text!r}: write KEY=VALUE, for example train.steps=1000")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    node: Any = raw
    *parents, last = key.strip().split(".")
    for part in parents:
        if isinstance(node, list):
            node = node[_place(node, part, text)]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"--set {text!r}: {part} is a value, not a section")
    node[_place(node, last, text) if isinstance(node, list) else last] = parsed


def _place(entries: list[Any], part: str, text: str) -> int:
    if not part.isdecimal() or int(part) >= len(entries):
        raise InputError(f"--set {text!r}: {part} is not one of the places 0..{len(entries) - 1}")
    return int(part)


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    tags = {"coco", "voc", "drawn"}
    where = ".".join(str(part) for part in first["loc"] if part not in tags)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        accepted = _keys_at(first["loc"][:-1])
        return f"unknown key {where}" + (
            f"; accepted are {', '.join(accepted)}" if accepted else ""
        )
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a recipe accepts at a place, read from the recipe's own JSON schema."""
    schema = Recipe.model_json_schema()
    definitions = schema["$defs"]

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
        return node

    node = schema
    for part in location:
        if isinstance(part, int):
            node = resolved(node.get("items", {}))
        elif "discriminator" in node:
            node = resolved({"$ref": node["discriminator"]["mapping"].get(part, "")})
        else:
            node = resolved(node.get("properties", {}).get(part, {}))
            options = [o for o in node.get("anyOf", []) if "discriminator" in o]
            node = options[0] if options else node
    return sorted(node.get("properties", {}))
