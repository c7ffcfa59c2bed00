"""Numbers of any number of bits, one after the other, as AV1 and the boxes around it have them."""

from __future__ import annotations

from service.pictures.refusals import broken


class Bits:
    """Reads from the first bit on, the highest of a byte first."""

    def __init__(self, data: bytes | memoryview, kind: str) -> None:
        self._data = data
        self._kind = kind
        self._at = 0

    def take(self, bits: int) -> int:
        """The number in the next bits. Raises Undecodable where the data ends before."""
        begin, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._data):
            raise broken(self._kind)
        number = int.from_bytes(self._data[begin // 8 : (self._at + 7) // 8])
        return number >> -self._at % 8 & ((1 << bits) - 1)
