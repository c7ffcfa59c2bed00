"""A picture in, the HTTP answer out: by the engine in this process or by a running server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx
import numpy as np

from export.engines.registry import open_session
from export.manifest import Precision
from model.errors import InputError
from service.detections import finish, result_of
from service.errors import Malformed, Problem, Undecodable, UnsupportedType
from service.options import DetectQuery
from service.pictures.images import PreparedImage, prepare_image

TIMEOUT_S = 120.0
"""How long to wait for one answer; a server on a small machine may have a long queue."""

TRIES = 5
"""How often a picture is sent to a server that says 503, each time after its Retry-After."""

NOT_THE_PICTURE = frozenset({400, 401, 404, 405})
"""Statuses that every further picture would get too."""


class Finder(Protocol):
    """Gives the answer that `POST /v1/detect` gives for one picture.

    Raises Problem if it is the picture's fault, and InputError if every other one would fail too.
    """

    def __call__(self, data: bytes) -> dict[str, Any]:
        """The answer for a picture file's bytes."""


class Prepared(NamedTuple):
    """A picture in its canvas, and how long that took."""

    image: PreparedImage
    decode_ms: float


class LocalFinder:
    """A bundle or a checkpoint on this machine, one picture at a time.

    A checkpoint, which has no list of scales of its own, serves the one asked for. `threads` are
    the engine's, None being all cores.
    """

    def __init__(
        self,
        bundle: Path,
        query: DetectQuery,
        precision: Precision | None = None,
        engine: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        scales = (query.scale,) if query.scale is not None and bundle.is_file() else ()
        self._session = open_session(bundle, engine, device, precision, threads, scales=scales)
        try:
            self._options = query.options(self._session.manifest)
        except Malformed as error:
            raise InputError(error.detail) from None

    def __call__(self, data: bytes) -> dict[str, Any]:
        """See `Finder`."""
        return self.find(self.prepare(data))

    @property
    def engine(self) -> str:
        """What runs the graph, and in which precision, for people: onnxruntime-1.32.0 int8."""
        return f"{self._session.engine} {self._session.precision}"

    def prepare(self, data: bytes) -> Prepared:
        """A picture file's bytes, ready for `find`; raises Problem. May run in several threads."""
        start = time.perf_counter()
        image = prepare_image(data, self._options.scale, self._session.manifest)
        return Prepared(image, _ms(time.perf_counter() - start))

    def find(self, prepared: Prepared) -> dict[str, Any]:
        """The answer for a picture; SessionError where the engine fails."""
        options, manifest = self._options, self._session.manifest
        canvas, place = prepared.image
        start = time.perf_counter()
        (found,) = self._session.run(
            canvas[None],
            np.array([place.resized], np.int64),
            *options.engine_thresholds(manifest),
        )
        inferred = time.perf_counter()
        kept = finish(found, place, options)
        timings_ms = {
            "decode": prepared.decode_ms,
            "queue": 0.0,
            "inference": _ms(inferred - start),
            "postprocess": _ms(time.perf_counter() - inferred),
        }
        return result_of(kept, place.image_size, options, manifest, timings_ms)


class RemoteFinder:
    """A running server; RETINASERVE_API_KEY is its key, where it asks for one."""

    def __init__(
        self, url: str, query: DetectQuery, transport: httpx.BaseTransport | None = None
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--url {url!r}: give a server, for example http://127.0.0.1:8000")
        key = os.environ.get("RETINASERVE_API_KEY")
        self._url = url.rstrip("/").removesuffix("/v1/detect")
        self._client = httpx.Client(
            base_url=self._url,
            params=query.model_dump(exclude_defaults=True),
            headers={"X-API-Key": key} if key else {},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def __call__(self, data: bytes) -> dict[str, Any]:
        """See `Finder`."""
        if not data:
            raise UnsupportedType("the file is empty")
        answer = self._post(data)
        for _ in range(TRIES - 1):
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
            answer = self._post(data)
        return self._read(answer)

    def _post(self, data: bytes) -> httpx.Response:
        try:
            return self._client.post(
                "/v1/detect", content=data, headers={"Content-Type": "application/octet-stream"}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = str(error) or type(error).__name__
            raise InputError(f"{self._url} does not answer ({said}): is it serving?") from None

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not {"detections", "detail"} & body.keys():
            raise InputError(f"{self._url} is no retinaserve: it answered {answer.status_code}")
        if answer.is_success:
            return body
        if answer.status_code in NOT_THE_PICTURE:
            raise InputError(f"{self._url} refused: {body['detail']}")
        problem = Problem(body["detail"])
        problem.status, problem.code = answer.status_code, body["code"]
        raise problem


def read_file(path: Path) -> bytes:
    """The bytes of a picture file; Undecodable says why they can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Undecodable(f"can't be read ({error.strerror})") from None


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 3)
