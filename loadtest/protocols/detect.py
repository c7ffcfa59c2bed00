"""POST /v1/detect: our own servers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlencode

import httpx
from pydantic import ValidationError

from loadtest.protocols.faults import fault_of
from loadtest.protocols.protocol import KEPT, Answer, Call, Detection, Malformed, Picture
from loadtest.protocols.turns import CYCLE, mixed, server_of
from loadtest.traffic.server_timing import timing_of
from model.errors import InputError
from service.schemas import DetectResult, Models

BodyKind = Literal["raw", "multipart", "json"]

PATH = "/v1/detect"
PATIENCE_S = 30.0


class Body(NamedTuple):
    """A body and its Content-Type."""

    data: bytes
    content_type: str


class Detect:
    """One picture a request, by kinds of bodies that take turns by their weights.

    `query`: parameters of each request, as /v1/detect has them. Boxes are read as `xyxy`. `kept`:
    pictures whose bodies are kept.
    """

    name = "detect"

    def __init__(
        self,
        servers: Sequence[str],
        bodies: Mapping[BodyKind, float] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        kept: int = KEPT,
    ) -> None:
        self.servers: Sequence[str] = [
            server.removesuffix("/").removesuffix(PATH) for server in servers
        ]
        default: Mapping[BodyKind, float] = {"raw": 1.0}
        self._kinds = mixed(bodies or default)
        self._headers, self._query = headers or {}, query or {}
        if self._query.get("box_format", "xyxy") != "xyxy":
            raise InputError("box_format: the load test reads xyxy, which is the default")
        self._body = lru_cache(kept * len(get_args(BodyKind)))(body_of)

    def call(self, number: int, picture: Picture, scale: int | None) -> Call:
        """See `DetectorProtocol`."""
        server = server_of(number, len(self.servers))
        body = self._body(self._kinds[number % CYCLE], picture)
        query = self._query if scale is None else {**self._query, "scale": str(scale)}
        url = self.servers[server] + PATH + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": body.content_type, **self._headers}
        return Call(url, body.data, headers, server)

    def prepare(self, pictures: Sequence[Picture], scale: int | None) -> None:
        """See `DetectorProtocol`."""
        for kind in dict.fromkeys(self._kinds):
            for picture in pictures:
                self._body(kind, picture)

    def describe(self) -> Mapping[str, str]:
        """See `DetectorProtocol`; where servers differ, all that is said."""
        found: dict[str, dict[str, None]] = {}
        for server in self.servers:
            for name, value in _model_of(server).items():
                found.setdefault(name, {})[value] = None
        return {name: " | ".join(values) for name, values in found.items()}

    def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `DetectorProtocol`."""
        try:
            result = DetectResult.model_validate_json(body)
        except ValidationError as error:
            raise Malformed(fault_of(error)) from None
        rows = [
            Detection((x1, y1, x2 - x1, y2 - y1), row.label, row.score)
            for row in result.detections
            for x1, y1, x2, y2 in [row.box]
        ]
        return Answer(rows, *timing_of(headers))


def body_of(kind: BodyKind, picture: Picture) -> Body:
    """A picture, wrapped."""
    match kind:
        case "raw":
            return Body(picture.data, "application/octet-stream")
        case "json":
            text = base64.b64encode(picture.data).decode()
            return Body(json.dumps({"image": text}).encode(), "application/json")
        case "multipart":
            files = {"image": (picture.name, picture.data, "application/octet-stream")}
            form = httpx.Request("POST", "http://server", files=files)
            return Body(form.read(), form.headers["Content-Type"])


def _model_of(server: str) -> dict[str, str]:
    """The facts of /v1/models; none where it isn't there: a proxy may let only detect through."""
    try:
        answer = httpx.get(f"{server}/v1/models", timeout=PATIENCE_S)
        (model,) = Models.model_validate_json(answer.content).models
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return {}
    return {
        "model": f"{model.name} {model.version}",
        "engine": f"{model.engine}, {model.precision}",
        "scales": ", ".join(map(str, model.scales)),
        "default scale": str(model.default_scale),
        "classes": ", ".join(model.classes),
    }
