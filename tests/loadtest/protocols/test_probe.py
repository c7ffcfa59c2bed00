"""Who can't be measured is told of it before any load."""

from __future__ import annotations

import json

import pytest

from loadtest.protocols.detect import Detect
from loadtest.protocols.post import Post
from loadtest.protocols.probe import probe
from loadtest.protocols.protocol import Picture
from model.errors import InputError
from tests.loadtest.answering import OK, answering, server, with_body
from tests.service.fakes import HeldEngine, picture
from tests.service.sockets import listening

pytestmark = pytest.mark.anyio

PICTURE = Picture(picture(), "cell.png", (128, 160))
NO_SERVER = "http://127.0.0.1:9"


async def test_servers_that_answer_are_fine() -> None:
    async with listening() as serving:
        url = "http://{}:{}".format(*serving.address)
        await probe(Detect([url]), PICTURE, [None, 64, 128])
        assert serving.outcome("ok") == 3


async def test_a_deadline_that_passes_is_left_to_the_load_to_find_out() -> None:
    async with server(with_body("HTTP/1.1 504 Late\r\n", "")) as url:
        await probe(Detect([url]), PICTURE)


async def test_each_of_several_servers_is_asked() -> None:
    async with server(with_body(OK, "fine")) as url:
        with pytest.raises(InputError, match=f"{NO_SERVER} can't be reached"):
            await probe(Post([url, NO_SERVER]), PICTURE)


async def test_our_own_server_says_what_it_does_not_take() -> None:
    async with listening(api_key="secret") as serving:
        url = "http://{}:{}".format(*serving.address)
        with pytest.raises(InputError, match=r"/v1/detect asks for a key \(401 unauthorized\)"):
            await probe(Detect([url]), PICTURE)
        with pytest.raises(InputError, match="scale is 65; accepted are this bundle's: 64, 128"):
            await probe(Detect([url], headers={"X-API-Key": "secret"}), PICTURE, [64, 65])


@pytest.mark.parametrize(
    ("head", "body", "sentence"),
    [
        ("HTTP/1.1 404 No\r\n", "", "answers 404: is the address right, and --protocol detect"),
        ("HTTP/1.1 405 No\r\n", "", "answers 405: is the address right, and --protocol detect"),
        (
            "HTTP/1.1 503 No\r\n",
            json.dumps({"code": "not_ready", "detail": "the model warms up"}),
            r"is there but refuses \(503 not_ready, the model warms up\): try again later",
        ),
        ("HTTP/1.1 307 Go\r\nLocation: /x\r\n", "", "refused the first picture: 307, it is at /x"),
        ("HTTP/1.1 500 Oh\r\n", "", "refused the first picture: 500"),
        (OK, "<html>", r"not as --protocol detect has it \(not JSON\); accepted are detect, oip"),
    ],
)
async def test_what_a_server_answers_instead_is_told(head: str, body: str, sentence: str) -> None:
    async with server(with_body(head, body)) as url:
        with pytest.raises(InputError, match=sentence):
            await probe(Detect([url]), PICTURE)


async def test_a_server_that_hangs_up_is_told_so() -> None:
    async with server(answering("")) as url:
        with pytest.raises(InputError, match="connection closed without an answer"):
            await probe(Detect([url]), PICTURE)


async def test_a_server_that_does_not_answer_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.protocols.probe.PATIENCE_S", 0.05)
    async with listening(HeldEngine()) as serving:
        url = "http://{}:{}".format(*serving.address)
        with pytest.raises(InputError, match=r"no answer within 0.05 s: is it overloaded"):
            await probe(Detect([url]), PICTURE)
