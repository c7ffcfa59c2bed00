"""An inference request's JSON as the Open Inference Protocol has it, checked.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md,
with the binary tensor data extension. Members that the protocol does not name are passed over;
parameters that are not known are refused. A list is refused at its first bad element: a body can
hold a million, and pydantic takes 8 s to tell of all of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from export.manifest import Manifest
from service.accepted import fault_of
from service.detections import Options
from service.errors import Malformed
from service.options import DetectQuery, Fraction, MaxDetections, Scale
from service.payloads import json_document

OutputName = Literal["num_detections", "boxes", "scores", "classes"]
OUTPUTS: tuple[OutputName, ...] = ("num_detections", "boxes", "scores", "classes")


def _whole(text: str) -> str:
    """The text; ValueError for half a surrogate pair, which JSON can spell but no answer repeat."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_whole)]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InputParameters(_Parameters):
    """Of an input."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class OutputParameters(_Parameters):
    """Of an output that is asked for."""

    binary_data: bool | None = None


class RequestParameters(_Parameters):
    """Of the request: how the answer shall come, and what /v1/detect has in its query."""

    binary_data_output: bool = False
    timeout: Annotated[int, Field(ge=1, le=60_000_000)] | None = None
    """Microseconds, as tritonclient has it."""
    score_threshold: Fraction | None = None
    iou_threshold: Fraction | None = None
    max_detections: MaxDetections = None
    scale: Scale = None

    def options(self, manifest: Manifest) -> Options:
        """The options against a manifest; Malformed names the parameter and what is accepted."""
        return DetectQuery(
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            scale=self.scale,
        ).options(manifest)


class InputTensor(BaseModel):
    """A tensor that is sent, in `data` or behind the JSON."""

    name: Text
    shape: Annotated[list[Annotated[int, Field(ge=0)]], FailFast()]
    datatype: Text
    parameters: InputParameters = InputParameters()
    data: Any = None


class WantedOutput(BaseModel):
    """A tensor that is asked for."""

    name: OutputName
    parameters: OutputParameters = OutputParameters()


class InferDocument(BaseModel):
    """The JSON of an inference request."""

    id: Text | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[InputTensor], FailFast()]
    outputs: Annotated[list[WantedOutput], FailFast()] = []


def infer_document(head: bytes) -> InferDocument:
    """The JSON part of a body, parsed; Malformed names what is wrong with it."""
    try:
        return InferDocument.model_validate(json_document(head))
    except ValidationError as error:
        fault = fault_of(error, InferDocument)
        name = fault.name or "the JSON body"
        raise Malformed(f"{name} {fault.found}: {fault.accepted}") from None
