"""What a server meets in its life: pictures of many sizes, broken files, callers who leave."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from PIL import Image

from loadtest.protocols.protocol import Call
from model.synthetic.scene import draw_scene

Kind = Literal["good", "bad", "leaving"]

SIZES = ((120, 160), (480, 640), (640, 480), (300, 900), (1200, 1600))
"""(height, width) of the pictures."""

SHARES: dict[Kind, float] = {"good": 0.8, "bad": 0.1, "leaving": 0.1}

LEAVES_WITHIN_S = 0.2


class Turn(NamedTuple):
    """One request: `leaves_s` is when its caller hangs up."""

    kind: Kind
    call: Call
    leaves_s: float | None = None


def mixed(url: str, scales: Sequence[int], seed: int) -> Iterator[Turn]:
    """Turns without end, the same for a seed. The good ones must all be answered with 200."""
    choices = random.Random(seed)
    pictures = list(_pictures())
    broken = [b"", b"no picture", pictures[1][:2000], b"BM" + bytes(60), b"\xff\xd8\xff" + bytes(9)]
    while True:
        (kind,) = choices.choices(list(SHARES), list(SHARES.values()))
        if kind == "bad":
            yield Turn(kind, Call(url, choices.choice(broken)))
            continue
        scale = choices.choice([None, *scales])
        call = Call(url + (f"?scale={scale}" if scale else ""), choices.choice(pictures))
        leaves_s = choices.uniform(0.0, LEAVES_WITHIN_S) if kind == "leaving" else None
        yield Turn(kind, call, leaves_s)


def _pictures() -> Iterator[bytes]:
    for number, size in enumerate(SIZES):
        for kind in ("JPEG", "PNG"):
            out = io.BytesIO()
            Image.fromarray(draw_scene(number, size).image).save(out, kind)
            yield out.getvalue()
