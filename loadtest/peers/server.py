"""A peer in a process of its own, and how it is asked."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psutil

from loadtest.ports import free_ports
from loadtest.protocols.detect import BodyKind, body_of
from loadtest.protocols.protocol import Call, Picture
from loadtest.servers import Server


class Peer(NamedTuple):
    """A framework's server: the module that runs it, and the call that sends it a picture."""

    module: str
    call: Callable[[str, bytes], Call]


class PeerServer(Server):
    """Runs for a block; what it leaves behind is killed."""

    def __init__(self, peer: Peer, python: str = sys.executable) -> None:
        (port,) = free_ports(1)
        super().__init__(module=peer.module, port=port, python=python)

    def __exit__(self, *_: object) -> None:
        _, *left = _processes(self)
        self.stop()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Runs a server for the block, stopped but where it is `awake`: it takes no CPU time."""
    with server:
        _suspend(server)
        try:
            yield
        finally:
            _resume(server)


@contextmanager
def awake(server: Server) -> Iterator[None]:
    """Lets a frozen server run for the block."""
    _resume(server)
    try:
        yield
    finally:
        _suspend(server)


def _suspend(server: Server) -> None:
    for process in _processes(server):
        with suppress(psutil.NoSuchProcess):
            process.suspend()


def _resume(server: Server) -> None:
    for process in _processes(server):
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _processes(server: Server) -> list[psutil.Process]:
    """Its own, which comes first, and those that it has started."""
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


def _posted(kind: BodyKind) -> Callable[[str, bytes], Call]:
    def call(url: str, data: bytes) -> Call:
        body = body_of(kind, Picture(data, "picture.jpg", (0, 0)))
        return Call(f"{url}/detect", body.data, {"Content-Type": body.content_type})

    return call


def _inferred(url: str, data: bytes) -> Call:
    # Not by `infer_body`: PyTriton's tensors have a dimension before that of their elements.
    tensor = struct.pack("<I", len(data)) + data
    image: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1, 1]}
    image["parameters"] = {"binary_data_size": len(tensor)}
    head = json.dumps({"inputs": [image], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Call(f"{url}/v2/models/cells/infer", head + tensor, headers)


PEERS: Mapping[str, Peer] = {
    "fastapi": Peer("loadtest.peers.bare_fastapi", _posted("raw")),
    "litserve": Peer("loadtest.peers.lit_serve", _posted("json")),
    "bentoml": Peer("loadtest.peers.bento_ml", _posted("multipart")),
    "pytriton": Peer("loadtest.peers.py_triton", _inferred),
}
