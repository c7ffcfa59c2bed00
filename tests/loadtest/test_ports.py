from __future__ import annotations

import socket
from contextlib import ExitStack

from loadtest.ports import free_ports


def test_ports_are_free_and_all_different():
    with ExitStack() as stack:
        for port in free_ports(3):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
