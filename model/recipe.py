"""Recipes: what may be said about a training run. `model.recipe_file` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.backbones.norm import BackboneNorm
from model.data.augment import Augmentation
from model.data.sources import Source
from model.errors import InputError
from model.fpn import P6From
from model.geometry import AnchorSpec
from model.heads import HeadNorm
from model.letterbox import Canvas
from model.losses.rule import LossRule
from model.matching import Matching

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """The architecture; see `model.retinanet.Architecture`."""

    backbone: str = "resnet50"
    backbone_weights: str | None = None
    """A torchvision classification file, or "imagenet" for torchvision's own, fetched once into
    torch hub's cache; without it the backbone starts from random weights."""
    weights: Path | None = None
    """A checkpoint to start from instead; its class head is made anew where the classes differ."""
    norm: BackboneNorm = "frozen"
    """The backbone's batch norm: `frozen` (paper), `trained`, or `sync` across processes."""
    norm_eps: Annotated[float, Field(ge=0)] = 1e-5
    """What that norm adds to the variance (torchvision's v1 checkpoints: 0)."""
    stride_in_1x1: bool = False
    """Bottlenecks halve the resolution in the first 1x1, as in MSRA's and Detectron's weights."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 0
    """How many stages of the backbone, from the stem on, keep their weights (Detectron: 2)."""
    head_width: Positive = 256
    head_depth: Count = 4
    head_norm: HeadNorm = "none"
    """`group`: group norm of 32 groups after each convolution of the subnets (RetinaNet v2)."""
    p6_from: P6From = "c5"
    """What P6 is a convolution of: C5 (paper, RetinaNet v2) or P5 (torchvision's v1)."""
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    anchors: AnchorSpec = AnchorSpec()


class DataSection(_Section):
    """What to train on and what to choose by."""

    train: Annotated[list[Source], Field(min_length=1)]
    val: Source | None = None
    rare_below: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Repeat-factor sampling: pictures with a class that fewer than this share of the pictures show
    appear more often, by the square root of the ratio (LVIS: .001); 0 for none."""


class OptimizerSection(_Section):
    """The optimiser and its schedule, in steps. Defaults of the paper, sec. 4.1, for 16 images."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    lr_for: Positive | None = None
    """The images a step that `lr` is meant for: it is scaled linearly to those of this run. Without
    it `lr` is taken as it is."""
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
    canvas: str = "auto"
    """One canvas HEIGHTxWIDTH for all, or `auto`: those that serving uses at this scale, each batch
    of pictures of one of them."""
    seed: Count = 0
    workers: Count = 2
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    """Compiles the network with torch.compile."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is evaluated and kept; 0 for none."""
    evaluate_every: Positive = 5_000
    checkpoint_every: Positive = 500

    @model_validator(mode="after")
    def _canvas_is_one(self) -> TrainSection:
        if self.canvas != "auto":
            Canvas.parse(self.canvas)
        return self


class Expected(_Section):
    """What the source of a recipe reports for it, in AP points on COCO."""

    source: str
    AP: float
    AP50: float | None = None
    AP75: float | None = None


class Recipe(_Section):
    """A whole training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    expect: Expected | None = None
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
