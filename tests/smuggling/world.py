"""A proxy between an attacker, other clients and a lax upstream that records every byte."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

from cmux_proxy import Proxy
from tests.helpers.lenient import FramingPreference, lenient
from tests.helpers.messages import Reader
from tests.helpers.origins import Origin, origin
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

# The port in the routing field of an attack.
ROUTE: Final = re.compile(rb"(?i)(?<=X-Cmux-Port-Internal: )1(?=\r\n)")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class World:
    """The proxy and the upstream of a test, and the clients."""

    def __init__(self, proxy: Proxy, upstream: Origin, has_head: asyncio.Event) -> None:
        self.upstream = upstream
        self.has_head = has_head
        self._address = proxy.addresses[0]

    def routed(self, data: bytes) -> bytes:
        """Return the bytes with the upstream's port in the routing field."""
        return ROUTE.sub(b"%d" % self.upstream.port, data)

    async def connect(self) -> Wire:
        """Connect a client."""
        return await Wire.to(self._address.host, self._address.port)

    async def attack(self, *pieces: bytes) -> bytes:
        """Send the pieces as a new client; return all bytes until the proxy closes.

        A later piece is sent when the upstream has read the head in the piece before.
        """
        with await self.connect() as wire:
            for number, piece in enumerate(pieces):
                self.has_head.clear()
                await soon(wire.send(self.routed(piece)))
                if number + 1 < len(pieces):
                    await soon(self.has_head.wait())
            return await soon(wire.receive_all())

    async def other(self, target: bytes) -> None:
        """Send a request as another client; fail unless it gets its own response."""
        with await self.connect() as wire:
            await wire.send(self.routed(plain_request(target)))
            response = await soon(Reader(wire).response())
            assert (response.status, response.body) == (200, b"GET " + target)

    @property
    def received(self) -> list[bytes]:
        """The bytes that the upstream received, by connection."""
        return [connection.received for connection in self.upstream.connections]


def plain_request(target: bytes) -> bytes:
    """Return an ordinary request."""
    return b"GET %b HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\n\r\n" % target


def forwarded(target: bytes) -> bytes:
    """Return the request as the upstream receives it."""
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target


def statuses(responses: bytes) -> list[int]:
    """Return the statuses of all responses in these bytes."""
    return [int(status) for status in _STATUS_LINE.findall(responses)]


@contextlib.asynccontextmanager
async def world(preference: FramingPreference) -> AsyncIterator[World]:
    """Set up a proxy, and an upstream with that framing preference."""
    has_head = asyncio.Event()
    async with origin(lenient(preference, has_head)) as upstream, Proxy(local_config()) as proxy:
        yield World(proxy, upstream, has_head)
