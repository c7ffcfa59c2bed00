"""The query parameters of a detect request, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.manifest import Manifest
from service.accepted import fault_of
from service.detections import BoxFormat, Options
from service.errors import Malformed

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
MaxDetections = Annotated[
    int | None,
    Field(
        description="How many to answer, best first: from 1 to the bundle's cap, see /v1/models."
    ),
]
Scale = Annotated[
    int | None,
    Field(
        description="Shorter side in pixels to work at: one of the bundle's scales, see /v1/models."
    ),
]


class DetectQuery(BaseModel):
    """What /v1/detect takes in its query; what is not given has the bundle's default."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: Annotated[
        Fraction | None,
        Field(description="Answer detections that score above this; the bundle's default is .05."),
    ] = None
    iou_threshold: Annotated[
        Fraction | None,
        Field(description="Of two boxes of one class that overlap more, the better one stays."),
    ] = None
    max_detections: MaxDetections = None
    classes: Annotated[
        str | None,
        Field(description="Only these classes: names or indices, comma separated."),
    ] = None
    scale: Scale = None
    box_format: Annotated[
        BoxFormat,
        Field(description="xyxy and xywh in pixels of the picture; normalized is xyxy in 0..1."),
    ] = "xyxy"
    timeout_ms: Annotated[
        int | None,
        Field(
            ge=1,
            le=60_000,
            description="From arrival: 503 at once where it can't be met, 504 when it has passed.",
        ),
    ] = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> DetectQuery:
        """The parameters of a query string; Malformed names the one that is wrong."""
        try:
            return cls.model_validate(dict(query))
        except ValidationError as error:
            fault = fault_of(error, cls)
        if fault.unknown:
            raise Malformed(f"unknown query parameter {fault.name!r}; {fault.accepted}")
        raise Malformed(f"{fault.name} {fault.found}: {fault.accepted}")

    def options(self, manifest: Manifest) -> Options:
        """The options against a manifest; Malformed names the parameter and what is accepted."""
        default = Options.default(manifest)
        cap = manifest.thresholds.max_detections
        wanted = default.max_detections if self.max_detections is None else self.max_detections
        if not 1 <= wanted <= cap:
            raise Malformed(f"max_detections is {wanted}; accepted is 1 to {cap}")
        scale = manifest.default_scale if self.scale is None else self.scale
        if scale not in manifest.canvases:
            held = ", ".join(map(str, manifest.scales))
            raise Malformed(f"scale is {scale}; accepted are this bundle's: {held}")
        return Options(
            score_threshold=_given(self.score_threshold, default.score_threshold),
            iou_threshold=_given(self.iou_threshold, default.iou_threshold),
            max_detections=wanted,
            scale=scale,
            classes=None if self.classes is None else class_indices(self.classes, manifest),
            box_format=self.box_format,
        )


def query_parameters() -> list[dict[str, Any]]:
    """The OpenAPI parameters of a detect request.

    Written here because FastAPI does not parse them: its own way takes a quarter of all the time
    that the event loop spends on a request.
    """
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": schema,
        }
        for name, schema in DetectQuery.model_json_schema()["properties"].items()
    ]


def class_indices(text: str, manifest: Manifest) -> frozenset[int]:
    """The class indices of comma-separated names or indices; Malformed lists the classes."""
    by_index = {str(index): index for index in range(len(manifest.classes))}
    indices = set()
    for name in (part.strip() for part in text.split(",")):
        if name in manifest.classes:
            indices.add(manifest.classes.index(name))
        elif name in by_index:
            indices.add(by_index[name])
        else:
            held = ", ".join(f"{name} ({i})" for i, name in enumerate(manifest.classes))
            raise Malformed(f"classes: {name[:64]!r} is not one; accepted are {held}")
    return frozenset(indices)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
