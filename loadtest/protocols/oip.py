"""The Open Inference Protocol v2 of any server: ours, Triton, KServe, MLServer.

Source: https://github.com/kserve/open-inference-protocol, with the binary tensor data extension
where the server has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import httpx
import numpy as np
from pydantic import BaseModel, ValidationError

from loadtest.protocols.oip_answer import detections_of, read_tensors
from loadtest.protocols.oip_request import Filled, infer_body
from loadtest.protocols.oip_tensors import DTYPES, ImageInput, TensorSpec
from loadtest.protocols.protocol import KEPT, Answer, Call, Picture
from loadtest.protocols.turns import server_of
from loadtest.traffic.server_timing import timing_of
from model.errors import InputError
from model.letterbox import Letterbox
from service.oip.answers import HEADER_LENGTH

BINARY = "binary_tensor_data"
"""The extension's name."""

SIZES = "image_sizes"
"""Input of our own bundles, as another server may serve them: the picture's (height, width) in its
canvas."""

LEFT_OUT = ("score_threshold", "iou_threshold", "max_detections")
"""Inputs of our own bundles that have a default."""

PATIENCE_S = 30.0


class ModelMetadata(BaseModel):
    """What GET /v2/models/NAME answers."""

    name: str
    versions: list[str] = []
    platform: str = ""
    inputs: list[TensorSpec]


class _ServerMetadata(BaseModel):
    extensions: list[str] = []


class Body(NamedTuple):
    """A body with the length of its JSON, and where the picture lies in it, if it was resized."""

    data: bytes
    json_length: int
    place: Letterbox | None


class Oip:
    """One picture a request, to the model whose metadata is given.

    `image`: the input that takes it, where there are several. `labels`: class names by index.
    `parameters`: of each request; the scale is one of them where the input takes whole files.
    `kept`: pictures whose bodies are kept; as tensors they take megabytes each.
    """

    name = "oip"

    def __init__(
        self,
        servers: Sequence[str],
        model: ModelMetadata,
        binary: bool = True,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        image: str | None = None,
        labels: Sequence[str] = (),
        kept: int = KEPT,
    ) -> None:
        self.servers: Sequence[str] = list(servers)
        self._model, self._binary, self._labels = model, binary, labels
        self._headers, self._parameters = headers or {}, parameters or {}
        self._image, self._sizes = _inputs_of(model, image)
        self._body = lru_cache(kept)(self._made)

    def call(self, number: int, picture: Picture, scale: int | None) -> Call:
        """See `DetectorProtocol`."""
        server = server_of(number, len(self.servers))
        body = self._body(picture, scale)
        headers = {"Content-Type": "application/json"}
        if self._binary:
            headers = {"Content-Type": "application/octet-stream"}
            headers[HEADER_LENGTH] = str(body.json_length)
        url = f"{self.servers[server]}/v2/models/{self._model.name}/infer"
        return Call(url, body.data, {**headers, **self._headers}, server, body.place)

    def prepare(self, pictures: Sequence[Picture], scale: int | None) -> None:
        """See `DetectorProtocol`."""
        for picture in pictures:
            self._body(picture, scale)

    def describe(self) -> Mapping[str, str]:
        """See `DetectorProtocol`."""
        named = " ".join([self._model.name, *self._model.versions])
        platform = self._model.platform
        return {"model": named, **({"engine": platform} if platform else {})}

    def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `DetectorProtocol`."""
        found = detections_of(read_tensors(headers, body), call.place, self._labels)
        return Answer(found, *timing_of(headers))

    def _made(self, picture: Picture, scale: int | None) -> Body:
        if self._image.is_file:
            parameters = self._parameters if scale is None else {**self._parameters, "scale": scale}
            inputs, place = [Filled(self._image.spec, picture.data)], None
        else:
            parameters, place = self._parameters, self._image.place(picture, scale)
            inputs = [Filled(self._image.spec, self._image.tensor(picture, place))]
        if self._sizes:
            size = place.resized if place else picture.size
            inputs.append(Filled(self._sizes, np.array([size], DTYPES[self._sizes.datatype])))
        return Body(*infer_body(inputs, parameters, self._binary), place)


def ask_model(server: str, name: str, headers: Mapping[str, str]) -> tuple[ModelMetadata, bool]:
    """A model's metadata, and whether the server takes binary tensors.

    InputError where the server can't be reached or doesn't have the model.
    """
    about = f"{server}/v2/models/{name}"
    try:
        with httpx.Client(headers=dict(headers), timeout=PATIENCE_S) as client:
            answer = client.get(about)
            of_server = client.get(f"{server}/v2")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = str(error) or type(error).__name__
        raise InputError(f"{server} can't be reached ({said}): is it serving there?") from None
    if answer.status_code != httpx.codes.OK:
        raise InputError(
            f"{about} answers {answer.status_code}: give the name of a model that it serves by "
            "--model; other kinds of servers are driven by --protocol detect or post"
        )
    try:
        model = ModelMetadata.model_validate_json(answer.content)
        extensions = _ServerMetadata.model_validate_json(of_server.content).extensions
    except ValidationError:
        raise InputError(f"{server} is not as the Open Inference Protocol has it") from None
    return model, BINARY in extensions


def _inputs_of(model: ModelMetadata, image: str | None) -> tuple[ImageInput, TensorSpec | None]:
    """The input that takes the image, and that of its size, if there is one."""
    rest = {spec.name: spec for spec in model.inputs if spec.name not in LEFT_OUT}
    sizes = rest.pop(SIZES, None)
    names = ", ".join(spec.name for spec in model.inputs)
    if image is None and len(rest) == 1:
        (image,) = rest
    if image not in rest:
        raise InputError(
            f"model {model.name} has the inputs {names}: say by --input which takes the image"
        )
    spec = rest.pop(image)
    if rest:
        raise InputError(
            f"model {model.name} has the inputs {names}: the load test can fill {image} and "
            f"{SIZES}, but not {next(iter(rest))}"
        )
    return ImageInput(spec), sizes
