"""Every error that a request can end in, each with its status and stable code.

    Problem
    ├── Malformed            400  malformed
    ├── Unauthorized         401  unauthorized
    ├── NotFound             404  not_found
    ├── MethodNotAllowed     405  method_not_allowed
    ├── BodyTooSlow          408  body_too_slow
    ├── ReloadUnderWay       409  reload_under_way
    ├── BundleRefused        409  bundle_refused
    ├── TooLarge             413  too_large
    ├── UnsupportedType      415  unsupported_type
    ├── Undecodable          422  undecodable
    ├── QuotaExceeded        429  quota_exceeded
    ├── HeadTooLarge         431  head_too_large
    ├── InternalError        500  internal_error
    │   └── InferenceFailed  500  inference_failed
    ├── Unavailable          503
    │   ├── QueueFull        503  queue_full
    │   ├── TooLate          503  too_late
    │   ├── EngineOutOfMemory 503 out_of_memory
    │   ├── NotReady         503  not_ready
    │   ├── EngineLost       503  engine_lost
    │   ├── UploadsFull      503  uploads_full
    │   ├── TooManyConnections 503 too_many_connections
    │   └── Draining         503  draining
    └── DeadlinePassed       504  deadline_passed
    ClientLeft                    (nobody is there to answer: 499 in the log only)

A `detail` is written for the caller: no traceback, no path, no message of a library.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"

RESTART_S = 10
"""What a restart takes, about: the drain delay, the start, the warm-up of a small bundle."""


class Problem(Exception):
    """An error answer as RFC 9457 describes it; `detail` is one sentence for the caller."""

    status = 500
    code = "internal_error"

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}

    def body(self, instance: str, request_id: str) -> dict[str, Any]:
        """The members of the problem document; `instance` is the path that was called.

        The type is about:blank, so the title is the status's own phrase (RFC 9457, 4.2.1) and
        `code` is what programs compare.
        """
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
            # Where clients of the Open Inference Protocol look.
            **({"error": self.detail} if f"{instance}/".startswith("/v2/") else {}),
        }


class Malformed(Problem):
    """The request itself is wrong; the detail names the parameter or the part of the body."""

    status = 400
    code = "malformed"


class Unauthorized(Problem):
    """The API key is missing or wrong."""

    status = 401
    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__(
            "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            {"WWW-Authenticate": "Bearer"},
        )


class NotFound(Problem):
    """No such path or model."""

    status = 404
    code = "not_found"


class MethodNotAllowed(Problem):
    """The path exists, but not for this method; `allow` is the Allow header."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allow: str) -> None:
        methods = set(allow.replace(",", " ").split())
        # HEAD is answered wherever GET is; some routes say so themselves.
        allow = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        super().__init__(f"{method} is not accepted here; accepted: {allow}", {"Allow": allow})


class BodyTooSlow(Problem):
    """The body stopped coming; the connection is closed, since its rest can't be told apart."""

    status = 408
    code = "body_too_slow"

    def __init__(self, timeout_s: float) -> None:
        detail = f"the body made too little progress within {timeout_s:g} s"
        super().__init__(detail, {"Connection": "close"})


class ReloadUnderWay(Problem):
    """Another bundle is being swapped in; one at a time."""

    status = 409
    code = "reload_under_way"

    def __init__(self) -> None:
        super().__init__("a reload is under way: wait for its end")


class BundleRefused(Problem):
    """A bundle that shall not be served; the one before it still is.

    The caller named its path, so the detail may; `parity` is what was measured before.
    """

    status = 409
    code = "bundle_refused"

    def __init__(self, detail: str, parity: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.parity = parity or {}

    def body(self, instance: str, request_id: str) -> dict[str, Any]:
        """See `Problem.body`; with the member `parity` (RFC 9457, 3.2)."""
        return super().body(instance, request_id) | {"parity": self.parity}


class TooLarge(Problem):
    """Too many bytes or pixels."""

    status = 413
    code = "too_large"


class UnsupportedType(Problem):
    """By its content the body is no picture of a type that we take."""

    status = 415
    code = "unsupported_type"


class Undecodable(Problem):
    """A picture of an accepted type that is broken."""

    status = 422
    code = "undecodable"


class QuotaExceeded(Problem):
    """The caller has sent more images than its quota lets in; others are not affected."""

    status = 429
    code = "quota_exceeded"

    def __init__(self, images_per_s: float, retry_after_s: int) -> None:
        detail = f"the quota of {images_per_s:g} images a second for each caller is used up"
        super().__init__(detail, {"Retry-After": str(retry_after_s)})


class HeadTooLarge(Problem):
    """Request line and headers, or trailers, have too many bytes."""

    status = 431
    code = "head_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the headers are larger than the {max_bytes:,} bytes that are accepted")


class InternalError(Problem):
    """A bug; the log has the traceback under the request id."""

    def __init__(self, detail: str = "an internal error; the log has more") -> None:
        super().__init__(detail)


class InferenceFailed(InternalError):
    """The engine failed on this very image; its batch-mates were answered."""

    code = "inference_failed"

    def __init__(self) -> None:
        super().__init__("the engine failed on this image")


class Unavailable(Problem):
    """Not now; `retry_after_s` whole seconds are a fair time to come back."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after_s)})


class QueueFull(Unavailable):
    """As many images wait as may."""

    code = "queue_full"

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(f"{limit} images wait already, which is the limit", retry_after_s)


class TooLate(Unavailable):
    """It can't be answered before its deadline, by the measured times; nothing ran for it."""

    code = "too_late"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("an answer can't be expected within timeout_ms now", retry_after_s)


class EngineOutOfMemory(Unavailable):
    """The device's memory did not suffice for this image alone; its batch-mates were answered."""

    code = "out_of_memory"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the engine has no memory for this image now", retry_after_s)


class NotReady(Unavailable):
    """The engine is still warming up; `retry_after_s` is what that takes yet, as far as known."""

    code = "not_ready"


class EngineLost(Unavailable):
    """The engine does not run any more; the server is about to end, to be started anew."""

    code = "engine_lost"

    def __init__(self) -> None:
        super().__init__("the engine does not run; the log says why", RESTART_S)


class UploadsFull(Unavailable):
    """The bodies of all requests together hold as many bytes as they may.

    Each body that ends makes room, and nobody can tell when that is: the clients set the pace. So
    the least that the header can say.
    """

    code = "uploads_full"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"bodies hold {max_bytes:,} bytes already, which is the limit", 1)


class TooManyConnections(Unavailable):
    """As many connections are open as may be, and none of them is idle.

    Each answer that goes out makes one idle, which gives way: the least that the header can say.
    """

    code = "too_many_connections"

    def __init__(self) -> None:
        super().__init__("as many connections are open as may be", 1)


class Draining(Unavailable):
    """The server is shutting down; as after EngineLost, the next one has to start."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("the server is shutting down", RESTART_S)


class DeadlinePassed(Problem):
    """The caller's `timeout_ms` passed before there was an answer."""

    status = 504
    code = "deadline_passed"

    def __init__(self) -> None:
        super().__init__("timeout_ms passed before there was an answer")


class ClientLeft(Exception):
    """The client closed the connection before it was answered."""
