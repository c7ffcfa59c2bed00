"""What schemathesis makes of our OpenAPI document: requests that fit it and that do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.fuzz.target import Target, target

CASES = int(os.environ.get("FUZZ_CASES", "600")) // 10

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    with target() as served:
        yield served


def test_every_operation_of_the_document_is_answered(server: Target) -> None:
    import requests

    schema = schemathesis.openapi.from_dict(server.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert "/v1/detect" in {operation.path for operation in operations}
    for operation in operations:
        fitting, unfitting = (
            operation.as_strategy(generation_mode=mode)
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        )

        @settings(
            max_examples=CASES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=st.one_of(fitting, unfitting))
        def answered(case) -> None:
            made = requests.Request(**case.as_transport_kwargs(base_url="http://server")).prepare()
            url = urlsplit(made.url)
            body = made.body or b""
            headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
                if isinstance(value, str)
                else (name.lower().encode("latin-1"), value)
                for name, value in made.headers.items()
            ]
            server.send(
                made.method, url.path, body if isinstance(body, bytes) else body.encode(),
                headers, url.query.encode(),
            )  # fmt: skip

        answered()
