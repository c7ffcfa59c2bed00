"""What a caller is told of a picture file that is not decoded."""

from __future__ import annotations

from service.errors import Undecodable


def too_much(kind: str, what: str, accepted: int) -> Undecodable:
    """The file of this type has more of something than a picture needs."""
    return Undecodable(f"the {kind} has too many {what}; accepted are up to {accepted:,}")


def broken(kind: str) -> Undecodable:
    """The file of this type makes no sense to its decoder."""
    return Undecodable(f"the {kind} does not decode: it is broken or cut short")
