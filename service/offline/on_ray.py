"""The parts of a run by Ray Data: on this machine, or on all of a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from model.cores import available_cores
from model.errors import InputError
from service.offline.rule import Rule
from service.offline.worker import Worker

LOCAL = "local"
"""The address that stands for this machine alone."""

OBJECT_STORE_BYTES = 128 << 20
"""Of Ray on this machine alone. Only numbers of parts go through the store."""

BLOCK_BYTES = 1 << 20
"""More than what a worker says of a part."""

CONNECT_S = 10.0
"""How long the head of a cluster may take to accept a connection."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Within Ray: a cluster's address, `auto` or `local`. Raises InputError where there is none."""
    _check_reachable(address)
    # Ray tells its makers about clusters, unless this is set before it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    here = {"num_cpus": available_cores(), "object_store_memory": OBJECT_STORE_BYTES}
    options: dict[str, Any] = here | {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--ray {address}: no Ray cluster there ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """InputError where nobody listens at HOST:PORT: Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise InputError(f"--ray {address}: no Ray cluster there ({error})") from None


def done_by_ray(parts: Sequence[int], rule: Rule) -> Iterator[dict[str, Any]]:
    """What `Worker` says of each part, as they get done, in any order.

    A worker has `rule.threads` cores and `rule.gpus` GPUs to itself, and Ray starts as many as
    there is work and room for. A part whose worker is lost is begun anew by another one, however
    often: the workers count.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Ray keeps room for a block of results for each worker it starts, 128 MiB unless it is told.
    context.target_max_block_size = BLOCK_BYTES
    # Parts take seconds: one at a time for each worker, and another worker while all are busy.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # the one for people; a file has it all
            handler.setLevel(logging.ERROR)
    # One part in a block: blocks are what Ray hands out, and tries again.
    numbers = ray.data.from_items(
        [{"part": part} for part in parts], override_num_blocks=len(parts)
    )
    worker: Any = Worker  # Ray's types know functions alone
    done = numbers.map(
        worker,
        fn_constructor_args=(rule,),
        num_cpus=rule.threads,
        num_gpus=rule.gpus or None,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=1),
    )
    yield from done.iter_rows()
