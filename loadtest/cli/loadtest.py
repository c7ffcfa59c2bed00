"""`retinaserve loadtest`: what a server does under load, told as it is."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import resource
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from loadtest.protocols import choice
from loadtest.protocols.probe import probe
from loadtest.protocols.protocol import DetectorProtocol
from loadtest.report.compare import compare
from loadtest.report.difference import print_comparison
from loadtest.report.document import read_study, write_study
from loadtest.report.live import open_view
from loadtest.report.page import write_page
from loadtest.report.table import print_study
from loadtest.traffic import inputs, wish
from loadtest.traffic.study import met, study_of
from loadtest.traffic.trial import Study
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name

HELP = "measure a server under load: latency, capacity, the rate that meets a target"

COMPARE = "compare"

INTERRUPTED = 130

EPILOG = """
examples:
  retinaserve loadtest http://127.0.0.1:8000
  retinaserve loadtest http://127.0.0.1:8000 --rate 10 --seconds 60 --html report.html
  retinaserve loadtest http://127.0.0.1:8000 --find-max-qps --p99-ms 250
  retinaserve loadtest http://127.0.0.1:8000 --sweep-scale 320,480 --json scales.json
  retinaserve loadtest compare before.json after.json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `retinaserve loadtest`."""
    parser.add_argument(
        "urls",
        nargs="+",
        metavar="URL",
        help="of servers, which take turns; or: compare A.json B.json",
    )
    wish.add_arguments(parser)
    pictures = parser.add_argument_group("pictures")
    inputs.add_arguments(pictures)
    choice.add_arguments(parser.add_argument_group("requests"))
    report = parser.add_argument_group("report")
    report.add_argument("--json", type=Path, metavar="FILE", help="for `compare`: all of it")
    report.add_argument("--html", type=Path, metavar="FILE", help="a page with plots")
    report.add_argument(
        "--out", type=Path, metavar="DIR", help="of --mlperf: where LoadGen's files go"
    )
    report.add_argument("--quiet", action="store_true", help="show nothing while it runs")
    parser.epilog = EPILOG


def run(args: argparse.Namespace) -> int:
    """Measures and reports; 1 if a target was missed, 130 if the run was interrupted."""
    if args.urls[0] == COMPARE:
        return _compare(args.urls[1:])
    wanted = wish.wish_of(args)
    sent = inputs.inputs_of(args, args.seed)
    protocol = choice.protocol_of(args.urls, args, len(sent.pictures))
    for file in (args.json, args.html):
        if file and not file.parent.is_dir():
            raise InputError(f"{file}: there is no folder {file.parent}")
    _raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        study = runner.run(_measured(args, wanted, sent, protocol))
    # Files first: what was measured must outlive whatever goes wrong while it is shown.
    if args.json:
        write_study(args.json, study)
    if args.html:
        write_page(args.html, study)
    print_study(study)
    if study.interrupted:
        return INTERRUPTED
    return 0 if met(study) else 1


async def _measured(
    args: argparse.Namespace, wanted: wish.Wish, sent: inputs.Inputs, protocol: DetectorProtocol
) -> Study:
    scales = wanted.scales or (wanted.scale,)
    await probe(protocol, sent.pictures[0], scales)
    facts = {
        "command": _command(args.header),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "retinaserve": importlib.metadata.version("retinaserve"),
        "client": f"{cpu_name()}, {available_cores()} cores",
        "servers": ", ".join(protocol.servers),
        **await asyncio.to_thread(protocol.describe),
        "pictures": sent.text,
        **_asked(args, wanted),
    }
    with nullcontext() if args.quiet else open_view() as view:
        return await study_of(wanted, protocol, sent, facts, view)


def _asked(args: argparse.Namespace, wanted: wish.Wish) -> dict[str, str]:
    """What else the figures depend on, see `loadtest.report.compare.ASKED`."""
    load = wanted.load
    facts = {"protocol": args.protocol, "timeout": f"{load.timeout_s:g} s"}
    if args.protocol == "detect":
        facts["bodies"] = args.bodies or "raw"
    if args.protocol != "post":
        facts["query"] = "&".join(sorted(args.query)) or "none"
    if wanted.kind != "mlperf":
        facts["warm-up"] = f"{load.warm_up_s:g} s"
        if wanted.kind != "scales" and load.callers is None:
            facts["arrivals"] = load.process
    return facts


def _command(headers: Sequence[str]) -> str:
    """How it was called, without headers, which may be secrets."""
    words = []
    for word in sys.argv[1:]:
        for header in headers:
            word = word.replace(header, "...")
        words.append(shlex.quote(word))
    return " ".join(["retinaserve", *words])


def _raise_file_limit() -> None:
    """Each request under way is an open file: a server that stalls collects thousands."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _compare(files: Sequence[str]) -> int:
    if len(files) != 2:
        raise InputError("compare needs two files, as in compare before.json after.json")
    comparison = compare(*(read_study(Path(file)) for file in files))
    print_comparison(comparison)
    return 1 if comparison.worse else 0
