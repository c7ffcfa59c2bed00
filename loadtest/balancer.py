"""HAProxy in front of servers on this machine."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.ports import free_ports
from model.errors import InputError

CHECK_S = 0.2
"""How often each server's /readyz is asked."""

CONFIG = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # A machine at its limit is slow, not down.
    timeout check 5s
    # A request that fails shall be seen, not tried again.
    retries 0
frontend requests
    bind 127.0.0.1:{port}
    default_backend servers
frontend state
    bind 127.0.0.1:{state_port}
    stats enable
    stats uri /
backend servers
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter {check_ms}ms fall 2 rise 1
"""


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy; `url` is where requests go."""

    url: str
    state_url: str

    def up(self) -> set[str]:
        """Names of the servers that get requests now."""
        text = httpx.get(f"{self.state_url}/;csv").text.removeprefix("# ")
        return {
            row["svname"]
            for row in csv.DictReader(io.StringIO(text))
            if row["pxname"] == "servers" and row["status"] == "UP"
        }

    def wait_for(self, name: str, patience_s: float = 60.0) -> None:
        """Returns once a server gets requests. Raises InputError when it takes too long."""
        end = time.monotonic() + patience_s
        while name not in self.up():
            if time.monotonic() > end:
                raise InputError(f"server {name} was not found ready within {patience_s:g} s")
            time.sleep(CHECK_S / 4)


def find_haproxy() -> str:
    """The path of the program, which a user's PATH may lack; InputError if it is not installed."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if path is None:
        raise InputError("haproxy is not installed: apt-get install haproxy")
    return path


@contextmanager
def balanced(ports: Sequence[int]) -> Iterator[Balancer]:
    """A balancer before the servers that listen on `ports`, named by them; ended with the block.

    Raises InputError where HAProxy is not installed or does not start.
    """
    port, state_port = free_ports(2)
    config = CONFIG.format(port=port, state_port=state_port, check_ms=round(CHECK_S * 1e3))
    config += "".join(f"    server {number} 127.0.0.1:{number}\n" for number in ports)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(config)
        process = subprocess.Popen([find_haproxy(), "-db", "-q", "-f", str(path)])
        try:
            balancer = Balancer(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{state_port}")
            _wait_until_it_answers(balancer, process)
            yield balancer
        finally:
            process.terminate()
            process.wait()


def _wait_until_it_answers(balancer: Balancer, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            balancer.up()
        except httpx.TransportError:
            if process.poll() is not None:
                raise InputError(f"haproxy ended with status {process.returncode}") from None
            time.sleep(0.05)
        else:
            return
