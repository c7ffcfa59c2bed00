"""What a request's head may be: its size, and what RFC 9112 refuses but the parser lets through."""

from __future__ import annotations

from service.errors import HeadTooLarge, Malformed

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers; also what trailers may add."""


class Head:
    """Counts the parts of one head as the parser finds them."""

    def __init__(self) -> None:
        self._size = 0
        self._hosts = 0
        self._encodings: list[bytes] = []
        self._has_length = False

    def count(self, size: int) -> None:
        """Takes bytes into account; raises HeadTooLarge."""
        self._size += size
        if self._size > MAX_HEAD_BYTES:
            raise HeadTooLarge(MAX_HEAD_BYTES)

    def header(self, name: bytes, value: bytes) -> None:
        """Takes a header into account."""
        match name.lower():
            case b"host":
                self._hosts += 1
            case b"content-length":
                self._has_length = True
            case b"transfer-encoding":
                self._encodings.append(value.lower())

    def end(self, version: str, upgrade: bool) -> None:
        """Raises Malformed where the whole of it, in this version of HTTP, can't be answered.

        `upgrade`: whether it asks for another protocol.
        """
        self._size = 0  # from here on that of trailers
        if version == "1.1" and self._hosts != 1:
            raise Malformed("HTTP/1.1 asks for exactly one Host header")
        if self._encodings and (version != "1.1" or self._encodings != [b"chunked"]):
            raise Malformed("of transfer encodings only chunked is accepted, in HTTP/1.1")
        if upgrade and (self._encodings or self._has_length):
            # The parser takes the body for the other protocol's first bytes.
            raise Malformed("a request with a body can't ask for an upgrade to another protocol")
