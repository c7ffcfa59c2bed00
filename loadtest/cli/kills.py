"""Kills one of several servers behind a balancer, under load: who notices, and can he try again?

    python -m loadtest.cli.kills --kills 5

An open loop of requests, each sent again a little later if it fails; meanwhile the first server is
killed (SIGKILL) while it has requests, again and again, and started anew. It passes if nothing
failed but what that server had, and every second try is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from loadtest.balancer import Balancer, behind_balancer, find_haproxy
from loadtest.cli.experiment import add_images, headers_of, pictures_of, run_experiment
from loadtest.cli.under_load import calls_in_turn, failures, load_while
from loadtest.ports import free_ports
from loadtest.servers import Server
from loadtest.traffic.retrying import Retrying
from loadtest.traffic.sample import Sample

TRIES = 2
PAUSE_S = 0.1
"""Before the second try. While a process is killed, its connections close before its port does, so
that a try without any delay may come to the same end."""


class Kill(NamedTuple):
    """When a server was killed and when it was gone, and how many requests it had just before."""

    began: float
    ended: float
    had: int


class Found(NamedTuple):
    """The kills, and what HAProxy counted of each server by its name.

    `lost`: requests that it had got and gave no answer to. `handed_on`: those that it was to get
    and another one got, since nobody listened there.
    """

    kills: list[Kill]
    lost: dict[str, int]
    handed_on: dict[str, int]


def kill_again_and_again(
    victim: Server, balancer: Balancer, kills: int, now: Callable[[], float]
) -> Found:
    """Kills a server that has requests and starts it anew, each time until it gets some again."""
    name = str(victim.port)
    done = []
    for _ in range(kills):
        balancer.wait_for_work(name)
        had, began = balancer.counts("scur")[name], now()
        victim.kill()
        done.append(Kill(began, now(), had))
        balancer.wait_for_loss(name)
        victim.start()
        balancer.wait_for(name)
    return Found(done, balancer.counts("eresp"), balancer.counts("wredis"))


def unexplained(failed: Sequence[Sample], kills: Sequence[Kill]) -> list[Sample]:
    """The failures of requests that were not under way at the time of any kill."""
    return [
        sample
        for sample in failed
        if not any(sample.sent <= kill.ended and kill.began <= sample.ended for kill in kills)
    ]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--replicas", type=int, default=3, help="servers (%(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second (%(default)g)")
    parser.add_argument(
        "--run-ms",
        type=float,
        default=200.0,
        help="an engine that sleeps so long each run; 0 for the bundled model (%(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Kills and prints; 1 if something failed that the killed server did not have."""
    find_haproxy()  # before servers are started in vain
    module = "loadtest.speed.null_server" if args.run_ms else "retinaserve serve"
    env = {"RETINASERVE_CHAOS": "true"} if args.run_ms else {}
    replicas = [Server(module=module, port=port, env=env) for port in free_ports(args.replicas)]
    pictures = pictures_of(args)
    failed: list[Sample] = []
    with behind_balancer(replicas, elsewhere=True) as balancer:

        def work(now: Callable[[], float]) -> Found:
            return kill_again_and_again(replicas[0], balancer, args.kills, now)

        calls = calls_in_turn(f"{balancer.url}/v1/detect", pictures, headers_of(args))
        samples, found = asyncio.run(
            load_while(
                work,
                calls,
                args.rate,
                sender_of=lambda client: Retrying(client, TRIES, PAUSE_S, failed.append),
            )
        )
    given_up = failures(samples)
    by_others = sum(found.lost.values()) - found.lost[str(replicas[0].port)]
    strange = unexplained(failed, found.kills)
    print(
        f"{args.replicas} servers, {len(found.kills)} kills of the first, which had "
        f"{', '.join(str(kill.had) for kill in found.kills)} requests; {len(samples)} requests at "
        f"{args.rate:g}/s: {len(failed)} failed {dict(failures(failed)) or ''}, {by_others} of "
        f"them by other servers, {len(strange)} at other times\n"
        f"{sum(found.handed_on.values())} that it was to get went to another; "
        f"{len(failed)} sent again, {sum(given_up.values())} in vain {dict(given_up) or ''}"
    )
    return int(bool(given_up or strange or by_others))


def main(arguments: Sequence[str] | None = None) -> int:
    """Kills and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
