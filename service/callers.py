"""Who calls: the API keys, and the quota of each caller."""

from __future__ import annotations

import hmac
import math

from pydantic import SecretStr
from starlette.requests import Request

from model.errors import InputError
from service.errors import Unauthorized
from service.quota import Quota, address_key
from service.settings import Settings
from service.telemetry.stages import Clock


class Callers:
    """Who may call, and how much, by the settings."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._keys = keys_of(settings.api_key)
        if settings.api_key is not None and not self._keys:
            raise InputError("setting api_key (or RETINASERVE_API_KEY) is set but holds no key")
        self._quota: Quota | None = None
        rate = settings.quota_images_per_s
        if rate is not None:
            self._quota = Quota(rate, settings.quota_burst or max(1, math.ceil(rate)), clock)

    def check_key(self, request: Request) -> None:
        """Raises Unauthorized unless the request has one of the API keys, where any is set."""
        if self._keys and self._key_number(request) is None:
            raise Unauthorized

    def take(self, request: Request) -> None:
        """Lets one image in; raises QuotaExceeded where its caller has a quota and used it up."""
        if self._quota is not None:
            self._quota.take(self._name(request))

    def charge(self, request: Request, images: int) -> None:
        """Counts more images that the same request turned out to hold."""
        if self._quota is not None:
            self._quota.charge(self._name(request), images)

    def _name(self, request: Request) -> str:
        """The caller: its key where keys are asked for, else its address."""
        number = self._key_number(request) if self._keys else None
        if number is not None:
            return f"key {number}"
        return address_key(request.client.host) if request.client else ""

    def _key_number(self, request: Request) -> int | None:
        """Which key the request has. The time taken does not depend on what was sent."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
        if given is None:
            return None
        found = None
        for number, key in enumerate(self._keys):
            if hmac.compare_digest(given.encode("latin-1"), key):
                found = number
        return found


def keys_of(secret: SecretStr | None) -> list[bytes]:
    """The keys in RETINASERVE_API_KEY: one, or several with commas between."""
    parts = secret.get_secret_value().split(",") if secret else []
    return [part.strip().encode() for part in parts if part.strip()]
