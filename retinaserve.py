"""The command `retinaserve`: finds a verb's module, imports only that, and runs it.

A verb is a module with `HELP` (one line), `configure(parser)` and `run(args) -> exit code`.
Exit codes: 0 done, 1 the verb says what failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

from model.errors import InputError

OUR_PACKAGES = ("model", "export", "service", "loadtest")

INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
TERMINATED = 143
"""128 + SIGTERM."""


class Verb(NamedTuple):
    """Where a verb lives; `line` repeats its module's HELP so that the menu imports nothing."""

    module: str
    extra: str
    line: str


MENU: dict[str, dict[str, Verb]] = {
    "Serve": {
        "serve": Verb("service.cli.serve", "cpu", "serve a bundle over HTTP"),
        "detect": Verb("service.cli.detect", "cpu", "find the objects in pictures and folders"),
    },
    "Train and export": {
        "doctor": Verb(
            "model.cli.doctor",
            "train",
            "examine a data set: faults, anchors, recipe; answers 'why is my mAP 0'",
        ),
        "train": Verb("model.cli.train", "train", "train a RetinaNet by a recipe"),
        "import": Verb(
            "model.cli.import_weights",
            "train",
            "turn weights of torchvision or detectron2 into a checkpoint",
        ),
        "export": Verb("export.cli.export", "export", "turn a checkpoint into a verified bundle"),
        "verify": Verb(
            "export.cli.verify",
            "train,export",
            "compare a bundle's graphs with their model, their records and each other",
        ),
        "quantize": Verb(
            "export.cli.quantize",
            "train,export",
            "give a bundle an 8-bit graph that keeps its AP, and tell what each layer loses",
        ),
        "build": Verb(
            "export.cli.build",
            "tensorrt",
            "build a bundle's TensorRT plan for the GPU of this machine",
        ),
    },
    "Measure": {
        "evaluate": Verb(
            "export.cli.evaluate",
            "train,export",
            "measure the AP of a checkpoint, a bundle or a running server",
        ),
        "bench": Verb(
            "loadtest.cli.bench",
            "cpu",
            "time detection on this machine by scale, engine, precision and stage",
        ),
        "loadtest": Verb(
            "loadtest.cli.loadtest",
            "loadtest",
            "measure a server under load: latency, capacity, the rate that meets a target",
        ),
        "reproduce": Verb(
            "model.cli.reproduce", "train", "show the paper's experiments at a size that runs here"
        ),
        "draw": Verb("model.cli.draw", "cpu", "draw blood-smear scenes with exact boxes"),
    },
}

VERBS = {name: verb for group in MENU.values() for name, verb in group.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb with its arguments (those of the process by default); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(menu(), file=sys.stderr)
        return 2
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help"):
        print(menu())
        return 0
    if name == "--version":
        print(f"retinaserve {importlib.metadata.version('retinaserve')}")
        return 0
    if name not in VERBS:
        return _refuse(f"retinaserve: {_unknown(name)}")
    if os.getpid() == 1:
        # For PID 1, as one is in a container, the kernel ignores SIGTERM unless there is a handler:
        # one that comes while libraries are imported would be lost, and the container killed late.
        signal.signal(signal.SIGTERM, _terminate)
    if name == "serve":
        # It asks for a reload; before there is anything to reload it must not end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Since 1.29 ONNX Runtime tells its makers about models and machines, unless this is set before
    # it is imported (its Privacy.md).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return _run(name, VERBS[name], rest)
    except InputError as error:
        return _refuse(f"retinaserve {name}: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # A full disk, a folder without permission: the path and the system's own words say it all.
        if error.filename is None or error.strerror is None:
            raise
        return _refuse(f"retinaserve {name}: {error.filename}: {error.strerror}")


def menu() -> str:
    """The text of `retinaserve --help`."""
    lines = ["usage: retinaserve VERB ...", ""]
    for group, verbs in MENU.items():
        lines += [f"{group}:", *(f"  {name:<10} {verb.line}" for name, verb in verbs.items()), ""]
    lines.append("`retinaserve VERB --help` says more, with an example; `--version` the version.")
    return "\n".join(lines)


def _run(name: str, verb: Verb, arguments: list[str]) -> int:
    try:
        module = importlib.import_module(verb.module)
        parser = argparse.ArgumentParser(
            prog=f"retinaserve {name}",
            description=module.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(parser)
        code: int = module.run(parser.parse_args(arguments))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OUR_PACKAGES:
            raise
        raise InputError(
            f"needs {missing}, which is not installed: "
            f"pip install 'retinaserve[{verb.extra}]' brings it"
        ) from None
    return code


def _terminate(*_: object) -> None:
    sys.exit(TERMINATED)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, VERBS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ";"
    return f"{name!r} is not a verb{meant} the verbs are {', '.join(VERBS)}"


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
