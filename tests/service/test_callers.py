from __future__ import annotations

import json

import pytest

from model.errors import InputError
from service.callers import Callers
from service.settings import Settings
from tests.service.fakes import picture
from tests.service.sockets import listening, post

pytestmark = pytest.mark.anyio

PNG = picture()


@pytest.mark.parametrize(
    ("key", "status"), [("new", 200), ("old", 200), ("", 401), ("new, old", 401), ("ne", 401)]
)
async def test_each_of_several_keys_is_accepted(serving, key, status):
    async with serving(api_key="new, old") as client:
        answer = await client.post("/v1/detect", content=PNG, headers={"X-API-Key": key})
    assert answer.status_code == status


async def test_a_key_is_compared_byte_by_byte_whatever_its_letters(serving):
    async with serving(api_key="schlüssel") as client:
        for key, status in (("schlüssel", 200), ("schlussel", 401)):
            headers = {"X-API-Key": key.encode()}
            answer = await client.post("/v1/detect", content=PNG, headers=headers)
            assert answer.status_code == status


@pytest.mark.parametrize("key", ["", " ", " , ,"])
def test_a_setting_without_a_key_in_it_does_not_open_the_door(key):
    with pytest.raises(InputError, match="RETINASERVE_API_KEY"):
        Callers(Settings(api_key=key), lambda: 0.0)


async def test_without_a_quota_nobody_is_counted(serving):
    async with serving() as client:
        for _ in range(5):
            assert (await client.post("/v1/detect", content=PNG)).status_code == 200


async def test_past_its_quota_a_caller_is_refused_with_429_and_counted_as_rejected(serving):
    async with serving(quota_images_per_s=0.001, quota_burst=1, api_key="a,b") as client:
        answers = [
            await client.post("/v1/detect", content=PNG, headers={"X-API-Key": key})
            for key in "aab"
        ]
        metrics = (await client.get("/metrics")).text
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[1].json()["code"] == "quota_exceeded"
    assert 990 < int(answers[1].headers["retry-after"]) <= 1000
    assert 'retinaserve_requests_total{outcome="rejected",route="/v1/detect"} 1.0' in metrics


async def test_every_image_of_a_request_counts(serving):
    files = [("a", PNG), ("b", PNG), ("c", PNG)]
    async with serving(quota_images_per_s=0.001, quota_burst=3) as client:
        assert (await client.post("/v1/detect", files=files)).status_code == 200
        assert (await client.post("/v1/detect", content=PNG)).status_code == 429


WRONG = [("/v1/detect?scale=7", {}), ("/v2/models/other/infer", {"Content-Encoding": "gzip"})]


@pytest.mark.parametrize(("url", "headers"), WRONG)
async def test_who_has_no_key_is_not_told_what_else_is_wrong(serving, url, headers):
    async with serving(api_key="a") as client:
        assert (await client.post(url, content=PNG, headers=headers)).status_code == 401


async def test_what_is_refused_for_another_reason_costs_no_quota(serving):
    async with serving(quota_images_per_s=0.001, quota_burst=1, api_key="a") as client:
        headers = {"X-API-Key": "a"}
        for url, given in (("/v1/detect", {}), ("/v1/detect?scale=7", headers)):
            assert (await client.post(url, content=PNG, headers=given)).status_code in (400, 401)
        assert (await client.post("/v1/detect", content=PNG, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "statuses"), [("", [200, 429, 429]), ("10.0.0.0/8, 127.0.0.1", [200, 200, 429])]
)
async def test_a_proxy_is_believed_only_where_it_is_named(proxies, statuses):
    quota = {"quota_images_per_s": 0.001, "quota_burst": 1}
    async with listening(forwarded_allow_ips=proxies, **quota) as server:
        client = await server.connect()
        answers = []
        for address in ("203.0.113.7", "203.0.113.8", "198.51.100.1, 203.0.113.8"):
            client.send(post(PNG, f"X-Forwarded-For: {address}"))
            answers.append(await client.answer())
        assert [answer.status for answer in answers] == statuses
        assert json.loads(answers[2].body)["code"] == "quota_exceeded"
