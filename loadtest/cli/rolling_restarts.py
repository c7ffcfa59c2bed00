"""Restarts servers one after the other behind a balancer, under load: does any request fail?

    python -m loadtest.cli.rolling_restarts --restarts 20 --rate 10

Servers behind HAProxy, which asks /readyz and tries nothing again. An open loop of requests;
meanwhile one server after the other gets SIGTERM, has to end with status 0, and is started anew.
With --swap, one after the other then takes another bundle as well, without a restart.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np

from loadtest.balancer import CHECK_S, Balancer, behind_balancer, find_haproxy
from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.under_load import calls_in_turn, failures, load_while
from loadtest.ports import free_ports
from loadtest.servers import Server
from model.errors import InputError

DRAIN_DELAY_S = 10 * CHECK_S
"""Long enough for the balancer to see twice that /readyz says 503."""
SWAP_TIMEOUT_S = 120.0

SERVE = "retinaserve serve"
"""What has the admin port that a swap is asked for at."""


def roll(replicas: Sequence[Server], balancer: Balancer, restarts: int) -> list[int]:
    """Restarts one after the other, each while the others serve; the exit statuses."""
    statuses = []
    for number in range(restarts):
        replica = replicas[number % len(replicas)]
        statuses.append(replica.stop())
        replica.start()
        balancer.wait_for(str(replica.port))
    return statuses


def swap(admin_ports: Sequence[int], bundle: Path) -> list[int]:
    """Has one server after the other take another bundle; the statuses of their answers.

    Raises InputError where one does not answer.
    """
    body = {"bundle": str(bundle.resolve())}
    statuses = []
    for port in admin_ports:
        url = f"http://127.0.0.1:{port}/admin/reload"
        try:
            statuses.append(httpx.post(url, json=body, timeout=SWAP_TIMEOUT_S).status_code)
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
            raise InputError(f"--swap {bundle}: no answer from {url} ({said})") from None
    return statuses


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--replicas", type=int, default=2, help="servers (%(default)s)")
    parser.add_argument("--restarts", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second (%(default)g)")
    parser.add_argument("--module", default=SERVE, help="what to run with python -m (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="what is served (the packaged one)")
    parser.add_argument("--swap", type=Path, metavar="BUNDLE", help="what to swap to in the end")
    parser.add_argument(
        "--drain-delay-s",
        type=float,
        default=DRAIN_DELAY_S,
        help="what a server serves on after SIGTERM; 0 shows what it is for (%(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Restarts and prints; 1 if a request failed or a server ended badly."""
    if args.swap and args.module != SERVE:
        raise InputError(
            f"--swap does not go with --module {args.module}; accepted is {SERVE}, which has an "
            "admin port"
        )
    find_haproxy()  # before servers are started in vain
    env = {"RETINASERVE_DRAIN_DELAY_S": str(args.drain_delay_s)}
    if args.bundle:
        env["RETINASERVE_BUNDLE"] = str(args.bundle)
    ports = free_ports(2 * args.replicas)
    admin_ports = ports[args.replicas :]
    replicas = [
        Server(module=args.module, port=port, env=env | {"RETINASERVE_ADMIN_PORT": str(admin)})
        for port, admin in zip(ports, admin_ports, strict=False)
    ]
    pictures = pictures_of(args)
    with behind_balancer(replicas) as balancer:

        def work(_: Callable[[], float]) -> tuple[list[int], list[int]]:
            statuses = roll(replicas, balancer, args.restarts)
            return statuses, swap(admin_ports, args.swap) if args.swap else []

        calls = calls_in_turn(f"{balancer.url}/v1/detect", pictures)
        samples, (statuses, swaps) = asyncio.run(load_while(work, calls, args.rate))
    failed = failures(samples)
    p50, p99 = np.percentile([sample.latency * 1e3 for sample in samples], (50, 99))
    swapped = f"{len(swaps)} swaps, answered {sorted(set(swaps))}; " if swaps else ""
    print(
        f"{args.replicas} servers, {len(statuses)} restarts, exit statuses "
        f"{sorted(set(statuses))}; {swapped}{len(samples)} requests at {args.rate:g}/s: "
        f"{sum(failed.values())} failed {dict(failed) or ''}\n"
        f"latency through the balancer: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    return int(bool(failed) or set(statuses) != {0} or not set(swaps) <= {200})


def main(arguments: Sequence[str] | None = None) -> int:
    """Restarts and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
