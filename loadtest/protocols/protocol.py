"""How a picture is asked about: what every kind of detector server has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from loadtest.traffic.client import Call


class Picture(NamedTuple):
    """A picture to send: its file's bytes and name, its (height, width), and its id in the labels,
    where there are any."""

    data: bytes
    name: str
    size: tuple[int, int]
    image_id: int | None = None


class Detection(NamedTuple):
    """One box, (x, y, width, height) in the picture's pixels, with its label and score."""

    box: tuple[float, float, float, float]
    label: str
    score: float


@dataclass(frozen=True)
class Answer:
    """What a server said of one picture. `stages_ms`: its own times, where it tells them.

    `batch`: how many images shared the engine's run, where it tells it.
    """

    detections: Sequence[Detection]
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    batch: int | None = None


class Malformed(Exception):
    """An answer that is not what the protocol says; the text says what is wrong with it."""


class DetectorProtocol(Protocol):
    """Makes a call of a picture, and reads its answer."""

    def call(self, number: int, picture: Picture, scale: int | None) -> Call:
        """The call with this number (what several URLs and kinds of bodies take turns by)."""
        ...

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer of a status below 400; raises Malformed."""
        ...
