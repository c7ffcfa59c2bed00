"""How a picture is asked about: what every kind of detector server has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from model.letterbox import Letterbox

KEPT = 32
"""Pictures that a load takes turns with unless it is told otherwise, and whose bodies are kept."""


@dataclass(frozen=True)
class Call:
    """What to send: `url` with its query, and the body with its headers.

    `server`: which of several servers it goes to, from 0. `place`: of a picture that was resized
    for it, where that lies; boxes in the answer are then of canvas pixels.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    server: int = 0
    place: Letterbox | None = None


class Picture(NamedTuple):
    """A picture to send: its file's bytes and name, its (height, width) once it is upright, and its
    id in the labels, where there are any.
    """

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

    detections: Sequence[Detection] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    batch: int | None = None


class Malformed(Exception):
    """An answer that is not what the protocol says; the text says what is wrong with it, in the
    same words for the same fault: that is what it is counted by.
    """


class DetectorProtocol(Protocol):
    """Makes a call of a picture, and reads its answer."""

    name: str
    """What --protocol calls it."""

    servers: Sequence[str]
    """The URLs that calls take turns with; `Call.server` counts along them."""

    def call(self, number: int, picture: Picture, scale: int | None) -> Call:
        """The call with this number (what several URLs and kinds of bodies take turns by).

        `scale` is the server's own where it is None. InputError where it can't be asked for.
        The first call of a picture may cost more than those after it, whose body is there, unless
        `prepare` has made it.
        """
        ...

    def prepare(self, pictures: Sequence[Picture], scale: int | None) -> None:
        """Makes all bodies that calls of the pictures may have, which takes time that must not be
        within a run. InputError where the scale can't be asked for.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """What the servers say of their models, as facts for the report; none is fine."""
        ...

    def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer with a status of 2xx to a call; raises Malformed."""
        ...
