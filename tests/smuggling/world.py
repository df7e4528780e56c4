"""A proxy between an attacker, other clients and a lax upstream that keeps every byte."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

from cmux_proxy import Proxy
from tests.helpers.lenient import Taste, lenient
from tests.helpers.messages import Reader
from tests.helpers.origins import Origin, origin
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

# Where the attacks name the upstream's port.
ROUTE: Final = re.compile(rb"(?i)(?<=X-Cmux-Port-Internal: )1(?=\r\n)")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class World:
    """What a test does with the proxy and the upstream."""

    def __init__(self, proxy: Proxy, upstream: Origin, has_head: asyncio.Event) -> None:
        self.upstream = upstream
        self.has_head = has_head
        self._address = proxy.addresses[0]

    def routed(self, data: bytes) -> bytes:
        """Return the bytes with the upstream's port in the routing header."""
        return ROUTE.sub(b"%d" % self.upstream.port, data)

    async def connect(self) -> Wire:
        """Connect a client."""
        return await Wire.to(self._address.host, self._address.port)

    async def attack(self, *pieces: bytes) -> bytes:
        """Send the pieces as a client of their own; return all that comes until the proxy closes.

        A later piece is sent when the upstream has read the head that the one before it ends.
        """
        with await self.connect() as wire:
            for number, piece in enumerate(pieces):
                self.has_head.clear()
                await soon(wire.send(self.routed(piece)))
                if number + 1 < len(pieces):
                    await soon(self.has_head.wait())
            return await soon(wire.receive_all())

    async def other(self, target: bytes) -> None:
        """Have another client ask, and fail unless it gets its own answer."""
        with await self.connect() as wire:
            await wire.send(self.routed(asking(target)))
            answer = await soon(Reader(wire).response())
            assert (answer.status, answer.body) == (200, b"GET " + target)

    @property
    def received(self) -> list[bytes]:
        """What the upstream got, connection by connection."""
        return [visit.received for visit in self.upstream.visits]


def asking(target: bytes) -> bytes:
    """Return an ordinary request."""
    return b"GET %b HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\n\r\n" % target


def forwarded(target: bytes) -> bytes:
    """Return what the upstream gets of it."""
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of all answers in these bytes."""
    return [int(status) for status in _STATUS_LINE.findall(answers)]


@contextlib.asynccontextmanager
async def world(taste: Taste) -> AsyncIterator[World]:
    """Set up a proxy, and an upstream of that taste."""
    has_head = asyncio.Event()
    async with origin(lenient(taste, has_head)) as upstream, Proxy(local_config()) as proxy:
        yield World(proxy, upstream, has_head)
