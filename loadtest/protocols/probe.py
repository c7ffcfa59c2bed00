"""One call to each server before any load: whoever can't be measured is told of it at once."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.protocols.protocol import DetectorProtocol, Picture
from loadtest.traffic.client import Reply, open_client
from loadtest.traffic.sample import Outcome
from model.errors import InputError

PATIENCE_S = 60.0
"""What a first answer may take: a server may be cold."""


async def probe(
    protocol: DetectorProtocol, picture: Picture, scales: Sequence[int | None] = (None,)
) -> None:
    """Nothing, if each server answers a picture at each scale; else an InputError that says which
    does not, why, and what to do.
    """
    async with open_client(PATIENCE_S, protocol) as client:
        for scale in scales:
            for number in range(len(protocol.servers)):
                call = protocol.call(number, picture, scale)
                reply = await client.ask(call, client.now())
                # 504: it is there and speaks the protocol, only not within the caller's deadline.
                if reply.sample.outcome is not Outcome.OK and reply.sample.status != 504:
                    raise InputError(sentence_of(protocol.name, call.url, reply))


def sentence_of(protocol: str, url: str, reply: Reply) -> str:
    """What is wrong with a server that does not answer a first picture, and what to do."""
    sample = reply.sample
    match sample.outcome, sample.status:
        case Outcome.CONNECTION, _:
            return f"{url} can't be reached ({sample.why}): is it serving there?"
        case Outcome.LATE, _:
            return f"{url} gave no answer within {PATIENCE_S:g} s: is it overloaded, or stuck?"
        case Outcome.MALFORMED, _:
            return (
                f"{url} answers, but not as --protocol {protocol} has it ({sample.why}); accepted "
                "are detect, oip and post, which takes any answer"
            )
        case _, 401 | 403:
            return (
                f"{url} asks for a key ({sample.why}): set RETINASERVE_API_KEY, or give "
                "--header 'Authorization: Bearer KEY'"
            )
        case _, 404 | 405:
            return (
                f"{url} answers {sample.why}{_said(reply)}: is the address right, and --protocol "
                f"{protocol} what it speaks? Accepted are detect, oip and post"
            )
        case Outcome.REFUSED, _:
            return f"{url} is there but refuses ({sample.why}{_said(reply)}): try again later"
    return f"{url} refused the first picture: {sample.why}{_said(reply)}"


def _said(reply: Reply) -> str:
    return f", {reply.said}" if reply.said else ""
