"""POST of a picture's bytes to any server that takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtest.protocols.box_layout import BoxLayout
from loadtest.protocols.protocol import Answer, Call, Picture
from loadtest.protocols.turns import server_of
from loadtest.traffic.server_timing import timing_of
from model.errors import InputError

SCALE = "{scale}"
"""Stands for the scale in a URL."""


class Post:
    """The bytes as they are, to each URL as it is; every answer of 2xx will do.

    `layout` says where boxes lie in the answer, if they are to be read. The scale takes the place
    of `{scale}` in the URLs.
    """

    name = "post"

    def __init__(
        self,
        servers: Sequence[str],
        headers: Mapping[str, str] | None = None,
        layout: BoxLayout | None = None,
    ) -> None:
        self.servers: Sequence[str] = list(servers)
        self._headers = {"Content-Type": "application/octet-stream", **(headers or {})}
        self._layout = layout

    def call(self, number: int, picture: Picture, scale: int | None) -> Call:
        """See `DetectorProtocol`."""
        server = server_of(number, len(self.servers))
        url = self.servers[server]
        if (scale is None) is (SCALE in url):
            raise InputError(
                f"{url}: write {SCALE} where the scale goes, as in http://server/find?size={SCALE}"
                if scale
                else f"{url}: give scales for {SCALE}"
            )
        return Call(url.replace(SCALE, str(scale)), picture.data, self._headers, server)

    def prepare(self, pictures: Sequence[Picture], scale: int | None) -> None:
        """See `DetectorProtocol`."""
        for picture in pictures:
            self.call(0, picture, scale)

    def describe(self) -> Mapping[str, str]:
        """See `DetectorProtocol`."""
        return {}

    def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `DetectorProtocol`."""
        rows = self._layout.read(body) if self._layout else ()
        return Answer(rows, *timing_of(headers))
