"""What the peers' processes have in common: their command line, and the line that says `ready`."""

from __future__ import annotations

import argparse
import sys
import threading
import time
import urllib.request

from loadtest.servers import READY

POLL_S = 0.2


def port_of(described: str | None) -> int:
    """The port that the command line asks for, which `loadtest.servers.Server` writes."""
    parser = argparse.ArgumentParser(description=described)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log-level", help="(ignored: each framework has its own)")
    port: int = parser.parse_args().port
    return port


def announce(port: int, path: str) -> None:
    """Says on stdout that the server is ready, in a while: once a GET of `path` answers 200."""
    url = f"http://127.0.0.1:{port}"

    def wait() -> None:
        while True:
            try:
                with urllib.request.urlopen(url + path, timeout=1.0):
                    break
            except OSError:
                time.sleep(POLL_S)
        sys.stdout.write(f"{READY}{url};\n")
        sys.stdout.flush()

    threading.Thread(target=wait, daemon=True).start()
