"""HAProxy in front of servers on this machine."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.ports import free_ports
from loadtest.servers import Server
from model.errors import InputError

CHECK_S = 0.2
"""How often each server's /readyz is asked."""

PATIENCE_S = 60.0
"""How long the balancer may take to see what became of a server."""

CONFIG = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # A machine at its limit is slow, not down.
    timeout check 5s
{retries}
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


SEEN = """\
    # A request that fails shall be seen, not tried again.
    retries 0"""

ELSEWHERE = """\
    # Where no connection comes about nothing was sent, so that another server may get it.
    retries 3
    option redispatch 1
    # On a connection that was used before, a loss is no 502 but its end, and is not counted.
    option httpclose"""


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy; `url` is where requests go."""

    url: str
    state_url: str

    def up(self) -> set[str]:
        """Names of the servers that get requests now."""
        return {name for name, row in self._rows().items() if row["status"] == "UP"}

    def counts(self, column: str) -> dict[str, int]:
        """A figure of HAProxy's about each server, such as `scur`, the requests that it has now.

        Source: HAProxy's management guide, 9.1 'CSV format'.
        """
        return {name: int(row[column]) for name, row in self._rows().items()}

    def wait_for(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Returns once a server gets requests. Raises InputError when it takes too long."""
        self._wait(lambda: name in self.up(), f"server {name} was not found ready", patience_s)

    def wait_for_loss(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Returns once a server gets no more requests; else as `wait_for`."""
        self._wait(lambda: name not in self.up(), f"server {name} was not found gone", patience_s)

    def wait_for_work(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Returns while a server has a request, as far as can be told; else as `wait_for`."""
        self._wait(lambda: self.counts("scur")[name] > 0, f"server {name} got nothing", patience_s)

    def _rows(self) -> dict[str, dict[str, str]]:
        text = httpx.get(f"{self.state_url}/;csv").text.removeprefix("# ")
        return {
            row["svname"]: row
            for row in csv.DictReader(io.StringIO(text))
            if row["pxname"] == "servers" and row["svname"] != "BACKEND"
        }

    def _wait(self, reached: Callable[[], bool], otherwise: str, patience_s: float) -> None:
        end = time.monotonic() + patience_s
        while not reached():
            if time.monotonic() > end:
                raise InputError(f"{otherwise} within {patience_s:g} s")
            time.sleep(CHECK_S / 4)


def find_haproxy() -> str:
    """The path of the program, which a user's PATH may lack; InputError if it is not installed."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if path is None:
        raise InputError("haproxy is not installed: apt-get install haproxy")
    return path


@contextmanager
def balanced(ports: Sequence[int], elsewhere: bool = False) -> Iterator[Balancer]:
    """A balancer before the servers that listen on `ports`, named by them; ended with the block.

    `elsewhere`: whether it hands to another server what one takes no connection for.
    Raises InputError where HAProxy is not installed or does not start.
    """
    port, state_port = free_ports(2)
    retries = ELSEWHERE if elsewhere else SEEN
    config = CONFIG.format(
        port=port, state_port=state_port, check_ms=round(CHECK_S * 1e3), retries=retries
    )
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


@contextmanager
def behind_balancer(replicas: Sequence[Server], elsewhere: bool = False) -> Iterator[Balancer]:
    """The balancer before these servers, once it has found all of them ready; see `balanced`.

    They are started here, and killed with the block.
    """
    with ExitStack() as stack:
        for replica in replicas:
            replica.start()
            stack.callback(replica.kill)
        ports = [replica.port for replica in replicas]
        balancer = stack.enter_context(balanced(ports, elsewhere))
        for port in ports:
            balancer.wait_for(str(port))
        yield balancer


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
