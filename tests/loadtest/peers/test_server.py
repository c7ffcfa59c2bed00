"""What the peers are sent, and a server that is stopped but for its turns."""

from __future__ import annotations

import base64
import json
import signal
import struct
import time
from collections.abc import Callable, Sequence

import psutil

from loadtest.peers.server import PEERS, Peer, PeerServer, awake, frozen
from loadtest.protocols.protocol import Call

JPEG = b"\xff\xd8 a picture"


def call(name: str) -> Call:
    return PEERS[name].call("http://peer", JPEG)


def test_each_peer_is_sent_the_whole_picture_in_its_own_form() -> None:
    assert (call("fastapi").url, call("fastapi").body) == ("http://peer/detect", JPEG)
    assert json.loads(call("litserve").body) == {"image": base64.b64encode(JPEG).decode()}
    form = call("bentoml")
    assert form.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="image"' in form.body
    assert JPEG in form.body


def test_pytriton_is_sent_a_binary_tensor() -> None:
    sent = call("pytriton")
    size = int(sent.headers["Inference-Header-Content-Length"])
    (image,) = json.loads(sent.body[:size])["inputs"]
    tensor = sent.body[size:]
    assert (image["datatype"], image["shape"]) == ("BYTES", [1, 1])
    assert image["parameters"]["binary_data_size"] == len(tensor)
    assert struct.unpack("<I", tensor[:4]) == (len(JPEG),)
    assert tensor[4:] == JPEG


def test_a_peer_and_what_it_started_run_only_while_they_are_awake_and_end_together() -> None:
    server = PeerServer(Peer("tests.loadtest.peers.leaving_server", PEERS["fastapi"].call))
    with frozen(server):
        own = psutil.Process(server.process.pid)
        both = [own, *own.children()]
        assert len(both) == 2
        assert soon(lambda: states(both) == {psutil.STATUS_STOPPED})
        with awake(server):
            assert soon(lambda: psutil.STATUS_STOPPED not in states(both))
        assert soon(lambda: states(both) == {psutil.STATUS_STOPPED})
    assert server.process.returncode == -signal.SIGTERM
    assert soon(lambda: not both[1].is_running() or states(both[1:]) == {psutil.STATUS_ZOMBIE})


def states(processes: Sequence[psutil.Process]) -> set[str]:
    return {process.status() for process in processes}


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it comes to that: signals take a moment."""
    return any(holds() or time.sleep(0.01) for _ in range(200))
