"""Whatever is sent, the answer is an answer: no 5xx but a refusal, no hang, no runaway memory.

`make test` runs a few hundred cases, always the same; `make fuzz` ten thousand.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings

from tests.service.fuzz.made_requests import Sent, requests
from tests.service.fuzz.mutation import mutants
from tests.service.fuzz.target import MAX_DECODED_BYTES, Target, target
from tests.service.peak import MEASURABLE, growth

CASES = int(os.environ.get("FUZZ_CASES", "600"))
"""Half of them are broken pictures, half made requests."""

SLACK_BYTES = 48 * 1024 * 1024
"""What the process may grow by beside the budget: the queue's canvases and what Python keeps."""

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow and numpy warn of what is broken


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # as the service does
    with target() as served:
        yield served


def test_broken_pictures_are_answered_within_the_memory_that_there_is(server: Target) -> None:
    statuses: Counter[int] = Counter()

    def send_all() -> None:
        for number, data in enumerate(islice(mutants(seed=5), CASES // 2)):
            accept = [(b"accept", b"image/png")] if number % 10 == 0 else []
            statuses[server.post(data, accept)] += 1

    for data in islice(mutants(seed=CASES), 50):
        server.post(data)  # the decoders load their libraries
    _, grew = growth(send_all) if MEASURABLE else (send_all(), 0)
    assert {200, 422} <= set(statuses) <= {200, 400, 413, 415, 422}
    assert grew < MAX_DECODED_BYTES + SLACK_BYTES


@settings(
    max_examples=CASES // 2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(sent=requests)
def test_made_requests_are_answered(server: Target, sent: Sent) -> None:
    assert server.post(sent.body, sent.headers, sent.query) in SEEN_OF_REQUESTS


SEEN_OF_REQUESTS = {200, 400, 413, 415, 422, 503, 504}
