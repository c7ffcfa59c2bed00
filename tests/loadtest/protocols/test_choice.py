"""From a command line to a protocol."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from loadtest.protocols.choice import add_arguments, bodies_of, protocol_of
from loadtest.protocols.protocol import DetectorProtocol, Picture
from model.errors import InputError
from tests.service.sockets import listening

PICTURE = Picture(b"picture", "cell.png", (128, 160))
URL = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETINASERVE_API_KEY", raising=False)


def chosen(*arguments: str, urls: tuple[str, ...] = (URL,)) -> DetectorProtocol:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return protocol_of(urls, parser.parse_args(arguments))


def test_ours_is_the_default() -> None:
    protocol = chosen(urls=(URL, "https://b.example/"))
    assert (protocol.name, protocol.servers) == ("detect", [URL, "https://b.example"])
    call = protocol.call(0, PICTURE, None)
    assert call.url == f"{URL}/v1/detect"
    assert call.headers == {"Content-Type": "application/octet-stream"}


def test_query_and_headers_are_those_given() -> None:
    given = ["--query", "timeout_ms=500", "--header", "x-team: a: b", "--bodies", "json"]
    call = chosen(*given).call(0, PICTURE, 480)
    assert call.url == f"{URL}/v1/detect?timeout_ms=500&scale=480"
    assert call.headers == {"Content-Type": "application/json", "X-Team": "a: b"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], {"X-API-Key": "secret"}),
        (["--header", "authorization: Bearer mine"], {"Authorization": "Bearer mine"}),
        (["--header", "X-Api-Key: mine"], {"X-Api-Key": "mine"}),
        (["--protocol", "post"], {}),
    ],
)
def test_the_key_is_sent_to_ours_unless_there_is_another(
    given: list[str], sent: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINASERVE_API_KEY", "secret")
    headers = dict(chosen(*given).call(0, PICTURE, None).headers)
    del headers["Content-Type"]
    assert headers == sent


def test_post_may_have_a_layout(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_text('{"detections": "found"}')
    protocol = chosen("--protocol", "post", "--boxes", str(file))
    body = b'{"found": [{"box": [1, 2, 4, 8], "label": "cat", "score": 0.5}]}'
    assert len(protocol.read(protocol.call(0, PICTURE, None), {}, body).detections) == 1


@pytest.mark.anyio
async def test_oip_asks_the_server_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--protocol", "oip", "--model", "cells", "--query", "max_detections=2"]
    async with listening() as server:
        url = "http://{}:{}".format(*server.address)
        protocol = await asyncio.to_thread(chosen, *given, "--labels", "a,b", urls=(url,))
    call = protocol.call(0, PICTURE, None)
    assert (protocol.name, call.url) == ("oip", f"{url}/v2/models/cells/infer")
    assert b'"max_detections":2' in call.body


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--protocol", "oip"], "--protocol oip needs --model NAME"),
        (["--model", "cells"], "--model goes with --protocol oip"),
        (["--protocol", "post", "--query", "a=1"], "--query goes with --protocol detect or oip"),
        (["--boxes", "boxes.json"], "--boxes goes with --protocol post"),
        (["--query", "scale"], "--query 'scale': write NAME=VALUE"),
        (["--query", "=480"], "--query '=480': write NAME=VALUE"),
        (["--header", "X-Team"], "--header 'X-Team': write 'Name: value'"),
        (["--header", "X Team: a"], "--header 'X Team: a': write 'Name: value'"),
        (["--header", "X-Team: a\nB: c"], "--header X-Team: the value has characters that"),
        (["--bodies", "xml"], "--bodies 'xml': accepted are raw, multipart, json"),
        (["--bodies", "raw=0"], "--bodies 'raw=0': accepted are raw, multipart, json"),
        (["--bodies", "raw=much"], "--bodies 'raw=much': accepted are raw, multipart, json"),
        (["--bodies", "raw=inf"], "--bodies 'raw=inf': accepted are raw, multipart, json"),
    ],
)
def test_what_does_not_fit_is_refused(given: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        chosen(*given)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a", "http://", "http://a:99999", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no URL; give a server as in http:"):
        chosen(urls=(url,))


def test_what_would_be_lost_or_shown_is_refused() -> None:
    with pytest.raises(InputError, match="a password in a URL would be in the report"):
        chosen(urls=("http://me:secret@a",))
    with pytest.raises(InputError, match="give the server alone, and parameters by --query"):
        chosen(urls=("http://a/?scale=480",))
    assert chosen("--protocol", "post", urls=("http://a/?b=1",)).servers == ["http://a/?b=1"]


def test_weights_are_read() -> None:
    assert bodies_of("raw=8, json=0.5") == {"raw": 8.0, "json": 0.5}
    assert bodies_of("multipart") == {"multipart": 1.0}
