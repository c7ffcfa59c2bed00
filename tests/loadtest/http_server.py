"""A server over HTTP in a thread of this process, that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, bytes]


@contextmanager
def http_server(reply: Callable[[int], Reply] = lambda _: (200, b"{}")) -> Iterator[str]:
    """Its URL; `reply` gives the status and body of the request with this number, from 0."""
    lock, count = threading.Lock(), -1

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal count
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                count += 1
                number = count
            status, body = reply(number)
            head = f"HTTP/1.1 {status} So\r\nContent-Length: {len(body)}\r\n\r\n"
            # At once: two writes meet the client's delayed acknowledgement, 40 ms.
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024  # of 5, as it is, a burst of connections is turned away

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
