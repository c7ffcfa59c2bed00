"""A peer in a process of its own, and how it is asked."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from loadtest.ports import free_ports
from loadtest.process import descendants
from loadtest.protocols.detect import BodyKind, body_of
from loadtest.protocols.protocol import Call, Picture
from loadtest.servers import Server


class Peer(NamedTuple):
    """A framework's server: its module in this package, and the call that sends it a picture."""

    module: str
    call: Callable[[str, bytes], Call]


class PeerServer(Server):
    """Runs for a block; what it leaves behind is killed."""

    def __init__(self, peer: Peer, python: str = sys.executable) -> None:
        (port,) = free_ports(1)
        super().__init__(module=f"loadtest.peers.{peer.module}", port=port, python=python)

    def __exit__(self, *_: object) -> None:
        left = descendants(self.process.pid)
        self.stop()
        _signal(left, signal.SIGKILL)


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Runs a server for the block, stopped but where it is `awake`: it takes no CPU time."""
    with server:
        _signal(_processes(server), signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(_processes(server), signal.SIGCONT)


@contextmanager
def awake(server: Server) -> Iterator[None]:
    """Lets a frozen server run for the block."""
    _signal(_processes(server), signal.SIGCONT)
    try:
        yield
    finally:
        _signal(_processes(server), signal.SIGSTOP)


def _processes(server: Server) -> list[int]:
    return [server.process.pid, *descendants(server.process.pid)]


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


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
    "fastapi": Peer("bare_fastapi", _posted("raw")),
    "litserve": Peer("lit_serve", _posted("json")),
    "bentoml": Peer("bento_ml", _posted("multipart")),
    "pytriton": Peer("py_triton", _inferred),
}
