"""How an upstream sends the responses of `nginx_responses.py`, and what a client must receive.

Lists where nginx reads a response differently from the standard.
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

# Valid responses that nginx misreads: it treats an interim response as the final one, and ignores a
# length with a tab next to it, so that it reads until the connection ends.
_INTERIM: Final = re.compile(rb"HTTP/[0-9.]+ +1")
_TAB_BESIDE_LENGTH: Final = re.compile(rb"(?i)\ncontent-length:[^\n]*\t")
# One in this many messages is a response to HEAD; after one in this many the upstream closes.
_SHARE: Final = 4


class Expected(NamedTuple):
    """What the proxy must deliver: status and content, or None if the response is not complete."""

    message: tuple[int, bytes] | None
    persists: bool = False


class Play(NamedTuple):
    """How the upstream sends a response: in two writes, and whether its connection stays open."""

    data: bytes
    method: str
    cut: int
    keeps_open: bool
    expected: Expected


def play(data: bytes) -> Play | None:
    """Return how these bytes are sent; None if nginx misreads them.

    The choices are derived from the bytes, so that they can be repeated.
    """
    seed = zlib.crc32(data)
    method = "HEAD" if seed % _SHARE == 0 else "GET"
    cut = seed % (len(data) + 1)
    if _INTERIM.match(data) is not None:
        return None
    try:
        judged = judge_response(HEAD if method == "HEAD" else NEW, [data])
    except BadMessage:
        judged = None
    if judged is not None and _TAB_BESIDE_LENGTH.search(judged.head) is not None:
        return None
    if judged is None or not judged.is_complete:
        return Play(data, method, cut, False, Expected(None))
    facts = response_head(data)
    content = content_of(judged.framing, facts.buffer[facts.end :])
    # No peer may wait for the end of a connection that stays open.
    has_other_end = judged.framing != UNTIL_CLOSE and not differs(data)
    keeps_open = has_other_end and seed // _SHARE % _SHARE != 0
    if judged.keeps_alive and judged.trailing_data:
        # Bytes that arrive later after a valid response are, in HTTP/1.1, the next response.
        cut = 0
    persists = judged.keeps_alive and not judged.trailing_data
    return Play(data, method, cut, keeps_open, Expected((judged.status, content), persists))


# Where nginx (1.22) differs from the standard or from the proxy, and why.
EXCEPTIONS: Final[Mapping[str, re.Pattern[bytes]]] = {
    # RFC 9110 sections 5.5 and 8.6; nginx ignores such a length.
    "a list of lengths, or a length next to tabs": re.compile(rb"(?i)\ncontent-length:[^\n]*[,\t]"),
    # Its limit is lower than the 15 digits that the proxy forwards; no such chunk ends in a test.
    "a chunk of over 2^56 bytes": re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]{14}"),
}


def differs(data: bytes) -> bool:
    """Return whether nginx may differ on this response."""
    return any(pattern.search(data) is not None for pattern in EXCEPTIONS.values())


class Upstream:
    """Sends the next play, and marked responses to requests for /marked/."""

    def __init__(self) -> None:
        self.next: Play | None = None
        self.fault = ""

    async def behave(self, connection: OriginConnection) -> None:
        """Respond to the requests of one connection."""
        connection.wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        may_be_reused = True
        while (request := await connection.request()) is not None:
            if not may_be_reused:
                self.fault = "a connection is reused that must not be"
            if request.target.startswith("/marked/"):
                await connection.send(http_response(request.target.encode()))
                continue
            played = self.next
            assert played is not None
            if played.cut:
                await connection.send(played.data[: played.cut])
                # The first write is usually read before the second one arrives.
                await asyncio.sleep(0)
            await connection.send(played.data[played.cut :])
            if not played.keeps_open:
                return
            may_be_reused = played.expected.persists
