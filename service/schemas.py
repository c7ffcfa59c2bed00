"""The answers as the OpenAPI document describes them; the code builds plain dicts of this shape."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from export.manifest import Thresholds
from service.errors import MEDIA_TYPE
from service.pictures.images import ACCEPTED


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str


class ImageSize(BaseModel):
    """The picture in pixels as a person sees it, EXIF turned."""

    width: int
    height: int


class Detection(BaseModel):
    """One object."""

    box: tuple[float, float, float, float] = Field(description="As box_format says.")
    score: float
    label: str
    class_index: int


class Timings(BaseModel):
    """Milliseconds per stage, waiting included."""

    decode: float
    queue: float
    inference: float
    postprocess: float


class DetectResult(BaseModel):
    """What was found in one picture, best detections first."""

    model: ModelName
    image: ImageSize
    scale: int
    detections: list[Detection]
    timings_ms: Timings


class ProblemDocument(BaseModel):
    """An error (RFC 9457); `code` is the stable name to compare."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str


class FailedImage(BaseModel):
    """One picture of several that could not be answered."""

    problem: ProblemDocument


class DetectResults(BaseModel):
    """What was found in each of several pictures, in order."""

    results: list[DetectResult | FailedImage]


class ModelDescription(BaseModel):
    """A model that is served."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    classes: list[str]
    scales: list[int]
    default_scale: int
    canvases: dict[int, list[str]] = Field(description="HEIGHTxWIDTH by scale.")
    thresholds: Thresholds = Field(description="Defaults, and the cap max_detections.")
    engine: str
    precision: str
    parity: dict[str, Any] = Field(description="Measured at export against the eager model.")
    metrics: dict[str, Any] = Field(description="What the model reaches on named data.")


class Models(BaseModel):
    """All models of this server: one."""

    models: list[ModelDescription]


class Health(BaseModel):
    """Fine."""

    status: str


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of error statuses."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": _MEANING[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


_MEANING = {
    400: "Malformed: a bad or unknown parameter, or a body of the wrong shape",
    401: "The API key is missing or wrong",
    404: "No such path or model",
    408: "The body made too little progress",
    413: "Too many bytes or pixels",
    415: f"By its content not one of {ACCEPTED}",
    422: "A picture that does not decode",
    429: "The caller's quota is used up; see Retry-After",
    500: "A bug",
    503: "Full, shutting down or not ready; see Retry-After",
    504: "timeout_ms passed",
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BASE64 = {"type": "string", "description": "base64, or a data: URI"}

DETECT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"{ACCEPTED}; the type is told by content. Raw bytes are fastest.",
        "content": {
            "image/*": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "One or more file fields, of any name.",
                    "additionalProperties": {"type": "string", "format": "binary"},
                    "minProperties": 1,
                }
            },
            "application/json": {
                "schema": {
                    "oneOf": [
                        {
                            "type": "object",
                            "properties": {"image": _BASE64},
                            "required": ["image"],
                            "additionalProperties": False,
                        },
                        {
                            "type": "object",
                            "properties": {
                                "images": {"type": "array", "items": _BASE64, "minItems": 1}
                            },
                            "required": ["images"],
                            "additionalProperties": False,
                        },
                    ]
                }
            },
        },
    }
}
