"""Restarts servers one after the other behind a balancer, under load: does any request fail?

    python -m loadtest.cli.rolling_restarts --restarts 20 --rate 10

Two servers behind HAProxy, which asks /readyz and tries nothing again. An open loop of requests;
meanwhile one server after the other gets SIGTERM, has to end with status 0, and is started anew.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from loadtest.balancer import CHECK_S, Balancer, balanced, find_haproxy
from loadtest.bench.prepared import pictures_to_time
from loadtest.servers import READY
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Call, open_client
from loadtest.traffic.loops import open_loop
from loadtest.traffic.sample import Outcome, Sample
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name

DRAIN_DELAY_S = 10 * CHECK_S
"""Long enough for the balancer to see twice that /readyz says 503."""
STOP_S = 60.0
TIMEOUT_S = 60.0


class Replica:
    """A server that is started and stopped on a port of its own."""

    def __init__(self, module: Sequence[str], port: int, drain_delay_s: float) -> None:
        self._command = [sys.executable, "-m", *module, "--port", str(port)]
        self._command += ["--log-level", "warning"]
        self._env = os.environ | {"RETINASERVE_DRAIN_DELAY_S": str(drain_delay_s)}
        self._process: subprocess.Popen[str] | None = None
        self.port = port

    def start(self) -> None:
        """Returns when it says that it is ready. Raises InputError if it ends before."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=self._env
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:  # that it is ready is all that it says there
            ready = any(READY in line for line in said)
        if not ready:
            raise InputError(f"a server ended with status {self._process.wait()} at its start")

    def stop(self) -> int:
        """The exit status after SIGTERM; -9 if it had to be killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """The exit status of what is left of it, if anything is."""
        assert self._process is not None
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait()


def roll(replicas: Sequence[Replica], balancer: Balancer, restarts: int) -> list[int]:
    """Restarts one after the other, each while the others serve; the exit statuses."""
    statuses = []
    for number in range(restarts):
        replica = replicas[number % len(replicas)]
        statuses.append(replica.stop())
        replica.start()
        balancer.wait_for(str(replica.port))
    return statuses


async def measure(
    balancer: Balancer, replicas: Sequence[Replica], args: argparse.Namespace
) -> tuple[list[Sample], list[int]]:
    """What became of the requests that came in during all restarts, and the exit statuses."""
    over = threading.Event()

    def times() -> Iterator[float]:
        for time in arrivals(args.rate, float("inf"), "poisson"):
            if over.is_set():
                return
            yield time

    async def rolled() -> list[int]:
        try:
            return await asyncio.to_thread(roll, replicas, balancer, args.restarts)
        finally:
            over.set()

    def call_of(number: int) -> Call:
        return Call(f"{balancer.url}/v1/detect", args.pictures[number % len(args.pictures)])

    async with open_client(TIMEOUT_S) as client, asyncio.TaskGroup() as group:
        rolling = group.create_task(rolled())
        sending = group.create_task(open_loop(client, times(), call_of))
    return sending.result(), rolling.result()


def free_ports(number: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [one.getsockname()[1] for one in sockets]


def main(arguments: Sequence[str] | None = None) -> int:
    """Restarts and prints; the exit code is 1 if a request failed or a server ended badly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--restarts", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second (%(default)g)")
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    parser.add_argument(
        "--module", default="retinaserve serve", help="what to run with python -m (%(default)s)"
    )
    parser.add_argument(
        "--drain-delay-s",
        type=float,
        default=DRAIN_DELAY_S,
        help="what a server serves on after SIGTERM; 0 shows what it is for (%(default)g)",
    )
    args = parser.parse_args(arguments)
    port, state_port, *ports = free_ports(4)
    replicas = [Replica(args.module.split(), number, args.drain_delay_s) for number in ports]
    try:
        find_haproxy()  # before servers are started in vain
        args.pictures, said = pictures_to_time(args.images)
        print(f"{cpu_name()}, {available_cores()} cores; {said}")
        with ExitStack() as stack:
            for replica in replicas:
                replica.start()
                stack.callback(replica.kill)
            balancer = stack.enter_context(balanced(ports, port, state_port))
            for replica in replicas:
                balancer.wait_for(str(replica.port))
            samples, statuses = asyncio.run(measure(balancer, replicas, args))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    failed = Counter(sample.why for sample in samples if sample.outcome is not Outcome.OK)
    p50, p99 = np.percentile([sample.latency * 1e3 for sample in samples], (50, 99))
    print(
        f"{len(statuses)} restarts, exit statuses {sorted(set(statuses))}; {len(samples)} requests "
        f"at {args.rate:g}/s: {sum(failed.values())} failed {dict(failed) or ''}\n"
        f"latency through the balancer: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    return int(bool(failed) or set(statuses) != {0})


if __name__ == "__main__":
    sys.exit(main())
