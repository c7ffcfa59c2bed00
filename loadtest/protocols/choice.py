"""The protocol that a command line asks for."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from loadtest.protocols.box_layout import read_layout
from loadtest.protocols.detect import BodyKind, Detect
from loadtest.protocols.oip import Oip, ask_model
from loadtest.protocols.post import Post
from loadtest.protocols.protocol import KEPT, DetectorProtocol
from model.errors import InputError

KINDS: tuple[BodyKind, ...] = get_args(BodyKind)

OPTIONS = {
    "query": ("detect", "oip"),
    "bodies": ("detect",),
    "boxes": ("post",),
    "model": ("oip",),
    "input": ("oip",),
    "labels": ("oip",),
}
"""Which protocols an option goes with."""


def add_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds what says how the servers are spoken to."""
    parser.add_argument(
        "--protocol",
        choices=("detect", "oip", "post"),
        default="detect",
        help="detect: ours, POST /v1/detect; oip: Open Inference Protocol v2; post: any server "
        "that takes a picture's bytes, at the URL as it is (%(default)s)",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="of every request; RETINASERVE_API_KEY is sent without (detect and oip)",
    )
    parser.add_argument(
        "--query",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of every request, such as timeout_ms=500; with oip a parameter of the request",
    )
    parser.add_argument(
        "--bodies",
        metavar="KIND=WEIGHT,...",
        help="detect: what pictures are wrapped in, as in raw=8,multipart=1,json=1 (raw)",
    )
    parser.add_argument(
        "--boxes", type=Path, metavar="JSON", help="post: a file that says where boxes lie"
    )
    parser.add_argument("--model", metavar="NAME", help="oip: the model to ask")
    parser.add_argument("--input", metavar="NAME", help="oip: the input that takes the image")
    parser.add_argument("--labels", metavar="A,B,...", help="oip: the names of the classes")


def protocol_of(
    urls: Sequence[str], args: argparse.Namespace, kept: int = KEPT
) -> DetectorProtocol:
    """The protocol for servers; InputError for what is no URL, or does not fit together.

    `kept`: how many pictures the load takes turns with.
    """
    servers = [server_url(url, args.protocol) for url in urls]
    for option, protocols in OPTIONS.items():
        if getattr(args, option) and args.protocol not in protocols:
            raise InputError(f"--{option} goes with --protocol {' or '.join(protocols)}")
    given = headers_of(args.header)
    if args.protocol == "post":
        return Post(servers, given, read_layout(args.boxes) if args.boxes else None)
    headers = _with_key(given)
    query = _query_of(args.query)
    if args.protocol == "detect":
        return Detect(servers, bodies_of(args.bodies or "raw"), headers, query, kept)
    if not args.model:
        raise InputError("--protocol oip needs --model NAME: that of /v2/models/NAME")
    model, binary = ask_model(servers[0], args.model, headers)
    parameters = {name: _value(text) for name, text in query.items()}
    labels = args.labels.split(",") if args.labels else ()
    return Oip(servers, model, binary, headers, parameters, args.input, labels, kept)


def server_url(text: str, protocol: str = "detect") -> str:
    """A URL without a slash at its end; InputError if it is none of a server."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise InputError(f"{text!r} is no URL; give a server as in http://127.0.0.1:8000")
    if parts.username or parts.password:
        # A report says which servers it is of.
        raise InputError("a password in a URL would be in the report: give it by --header")
    if protocol != "post" and (parts.query or parts.fragment):
        raise InputError(f"{text!r}: give the server alone, and parameters by --query")
    return text.rstrip("/")


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """Headers written as `Name: value`; names in title case, so that none comes twice."""
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        # A token of RFC 9110, and a value without line breaks: nothing else may be sent.
        if not colon or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"--header {text!r}: write 'Name: value'")
        if not value.isprintable():
            raise InputError(f"--header {name}: the value has characters that can't be sent")
        headers[name.title()] = value.strip()
    return headers


def bodies_of(text: str) -> dict[BodyKind, float]:
    """The kinds of bodies with their weights: `raw`, or `raw=8,json=2`."""
    bodies: dict[BodyKind, float] = {}
    for part in text.split(","):
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        kind = next((kind for kind in KINDS if kind == name), None)
        try:
            number = float(weight) if equals else 1.0
        except ValueError:
            number = -1.0
        if kind is None or not 0 < number < math.inf:
            raise InputError(
                f"--bodies {text!r}: accepted are {', '.join(KINDS)}, each with a weight above 0, "
                "as in raw=8,json=2"
            )
        bodies[kind] = number
    return bodies


def _with_key(headers: Mapping[str, str]) -> Mapping[str, str]:
    key = os.environ.get("RETINASERVE_API_KEY")
    if key and not {name.lower() for name in headers} & {"authorization", "x-api-key"}:
        return {**headers, "X-API-Key": key}
    return headers


def _query_of(given: Sequence[str]) -> dict[str, str]:
    query = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--query {text!r}: write NAME=VALUE")
        query[name] = value
    return query


def _value(text: str) -> Any:
    """A parameter as JSON where it is some, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
