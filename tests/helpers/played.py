"""How an upstream sends the responses that nginx reads (`nginx_responses.py`), and what they mean.

The one place that says where nginx reads otherwise than the standard.
"""

import asyncio
import re
import socket
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import UNTIL_CLOSE
from tests.helpers.judging import judge_response, response_head
from tests.helpers.one_reading import HEAD, NEW
from tests.helpers.origins import OriginConnection, http_response
from tests.helpers.second_opinion import content_of

# What nginx does not read where it is right: it takes an interim response for a final one, and a
# length for none where a tab stands beside it, so that the end of the connection ends the response.
_INTERIM: Final = re.compile(rb"HTTP/[0-9.]+ +1")
_TAB_BESIDE_LENGTH: Final = re.compile(rb"(?i)\ncontent-length:[^\n]*\t")
# Every so many messages are an answer to HEAD, and are sent by an upstream that then stays.
_EVERY: Final = 4


class Meant(NamedTuple):
    """What the proxy makes of a response: nothing that is whole, or status and content."""

    message: tuple[int, bytes] | None
    persists: bool = False


class Play(NamedTuple):
    """How the upstream sends a response: in two pieces, and whether its connection stays open."""

    data: bytes
    method: str
    cut: int
    stays: bool
    meant: Meant


def play(data: bytes) -> Play | None:
    """Return how these bytes are sent, which is drawn from them, so that it can be repeated.

    None where nginx does not read what is right.
    """
    drawn = zlib.crc32(data)
    method = "HEAD" if drawn % _EVERY == 0 else "GET"
    cut = drawn % (len(data) + 1)
    if _INTERIM.match(data) is not None:
        return None
    try:
        judged = judge_response(HEAD if method == "HEAD" else NEW, [data])
    except BadMessage:
        judged = None
    if judged is not None and _TAB_BESIDE_LENGTH.search(judged.head) is not None:
        return None
    if judged is None or not judged.is_complete:
        return Play(data, method, cut, False, Meant(None))
    facts = response_head(data)
    content = content_of(judged.framing, facts.buffer[facts.end :])
    # Nobody may have to wait for the upstream's end where that does not come.
    has_other_end = judged.framing != UNTIL_CLOSE and not differs(data)
    stays = has_other_end and drawn // _EVERY % _EVERY != 0
    if judged.keeps_alive and judged.trailing_data:
        # What comes late behind a clean response is, in HTTP/1.1, the next one.
        cut = 0
    persists = judged.keeps_alive and not judged.trailing_data
    return Play(data, method, cut, stays, Meant((judged.status, content), persists))


# Where nginx (1.22) differs from the standard, or from what we make of it, and why.
EXCEPTIONS: Final[Mapping[str, re.Pattern[bytes]]] = {
    # RFC 9110 sections 5.5 and 8.6; nginx takes such a length for none.
    "a list of lengths, or a length beside tabs": re.compile(rb"(?i)\ncontent-length:[^\n]*[,\t]"),
    # It counts less far than the 15 digits that we pass on; no such chunk ever ends.
    "a chunk of over 2^56 bytes": re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]{14}"),
}


def differs(data: bytes) -> bool:
    """Return whether nginx may differ on this response."""
    return any(pattern.search(data) is not None for pattern in EXCEPTIONS.values())


class Upstream:
    """Sends what is to be played next, and a mark to whoever asks for that."""

    def __init__(self) -> None:
        self.next: Play | None = None
        self.fault = ""

    async def behave(self, connection: OriginConnection) -> None:
        """Answer the requests of one connection."""
        connection.wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        may_follow = True
        while (request := await connection.request()) is not None:
            if not may_follow:
                self.fault = "a connection is used again that must not be"
            if request.target.startswith("/marked/"):
                await connection.send(http_response(request.target.encode()))
                continue
            played = self.next
            assert played is not None
            if played.cut:
                await connection.send(played.data[: played.cut])
                # So that it is read before the rest comes, mostly.
                await asyncio.sleep(0)
            await connection.send(played.data[played.cut :])
            if not played.stays:
                return
            may_follow = played.meant.persists
