"""The marks of the header X-Retinaserve-Chaos, and who listens to it."""

from __future__ import annotations

import pytest

from service.engine.chaos import Mark
from service.errors import Malformed
from tests.service.fakes import FakeSession, picture

PNG = picture()


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("fail", Mark("fail")),
        ("oom", Mark("oom")),
        ("sticky", Mark("sticky")),
        ("hang", Mark("hang")),
        ("delay=2", Mark("delay", 2.0)),
        ("delay=0.25", Mark("delay", 0.25)),
        ("delay=3600", Mark("delay", 3600.0)),
    ],
)
def test_a_mark_is_read(text, mark):
    assert Mark.parse(text) == mark


@pytest.mark.parametrize(
    "text",
    ["", "delay", "delay=", "delay=-1", "delay=nan", "delay=1e3", "delay=3600.5", "delay=٣",
     "Fail", "fail,oom", " fail", "hang\n", "x" * 10_000],
)  # fmt: skip
def test_another_value_is_malformed_and_the_detail_lists_the_accepted(text):
    with pytest.raises(Malformed) as refusal:
        Mark.parse(text)
    assert refusal.value.detail == (
        f"X-Retinaserve-Chaos is {text[:64]!r}; accepted are fail, oom, sticky, hang and "
        "delay=SECONDS with 0 to 3600 seconds"
    )


@pytest.mark.anyio
async def test_without_chaos_the_header_is_ignored(serving):
    async with serving() as client:
        for value in ("sticky", "nonsense"):
            headers = {"X-Retinaserve-Chaos": value}
            answer = await client.post("/v1/detect", content=PNG, headers=headers)
            assert answer.status_code == 200
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.anyio
async def test_with_chaos_a_bad_value_is_a_400(serving):
    async with serving(chaos=True) as client:
        headers = {"X-Retinaserve-Chaos": "delay=soon"}
        answer = await client.post("/v1/detect", content=PNG, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
        assert "accepted are fail, oom, sticky, hang and delay=SECONDS" in answer.json()["detail"]


@pytest.mark.anyio
async def test_each_picture_of_a_marked_request_is_marked(serving):
    session = FakeSession()
    async with serving(session, chaos=True) as client:
        answer = await client.post(
            "/v1/detect",
            files=[("a", PNG), ("b", PNG)],
            headers={"X-Retinaserve-Chaos": "fail"},
        )
        assert answer.status_code == 200
        codes = [result["problem"]["code"] for result in answer.json()["results"]]
        assert codes == ["inference_failed"] * 2
