"""Restarts servers one after the other behind a balancer, under load: does any request fail?

    python -m loadtest.cli.rolling_restarts --restarts 20 --rate 10

Two servers behind HAProxy, which asks /readyz and tries nothing again. An open loop of requests;
meanwhile one server after the other gets SIGTERM, has to end with status 0, and is started anew.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from loadtest.balancer import CHECK_S, Balancer, balanced, find_haproxy
from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.under_load import calls_in_turn, failures, load_while
from loadtest.ports import free_ports
from loadtest.servers import Server

REPLICAS = 2
DRAIN_DELAY_S = 10 * CHECK_S
"""Long enough for the balancer to see twice that /readyz says 503."""


def roll(replicas: Sequence[Server], balancer: Balancer, restarts: int) -> list[int]:
    """Restarts one after the other, each while the others serve; the exit statuses."""
    statuses = []
    for number in range(restarts):
        replica = replicas[number % len(replicas)]
        statuses.append(replica.stop())
        replica.start()
        balancer.wait_for(str(replica.port))
    return statuses


@contextmanager
def behind_balancer(replicas: Sequence[Server]) -> Iterator[Balancer]:
    """The balancer before these servers, once it has found all of them ready.

    They are started here, and killed with the block.
    """
    with ExitStack() as stack:
        for replica in replicas:
            replica.start()
            stack.callback(replica.kill)
        balancer = stack.enter_context(balanced([replica.port for replica in replicas]))
        for replica in replicas:
            balancer.wait_for(str(replica.port))
        yield balancer


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--restarts", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second (%(default)g)")
    parser.add_argument(
        "--module", default="retinaserve serve", help="what to run with python -m (%(default)s)"
    )
    parser.add_argument(
        "--drain-delay-s",
        type=float,
        default=DRAIN_DELAY_S,
        help="what a server serves on after SIGTERM; 0 shows what it is for (%(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Restarts and prints; 1 if a request failed or a server ended badly."""
    find_haproxy()  # before servers are started in vain
    env = {"RETINASERVE_DRAIN_DELAY_S": str(args.drain_delay_s)}
    replicas = [Server(module=args.module, port=port, env=env) for port in free_ports(REPLICAS)]
    pictures = pictures_of(args)
    with behind_balancer(replicas) as balancer:
        calls = calls_in_turn(f"{balancer.url}/v1/detect", pictures)
        rolling = load_while(lambda _: roll(replicas, balancer, args.restarts), calls, args.rate)
        samples, statuses = asyncio.run(rolling)
    failed = failures(samples)
    p50, p99 = np.percentile([sample.latency * 1e3 for sample in samples], (50, 99))
    print(
        f"{len(statuses)} restarts, exit statuses {sorted(set(statuses))}; {len(samples)} requests "
        f"at {args.rate:g}/s: {sum(failed.values())} failed {dict(failed) or ''}\n"
        f"latency through the balancer: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    return int(bool(failed) or set(statuses) != {0})


def main(arguments: Sequence[str] | None = None) -> int:
    """Restarts and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
