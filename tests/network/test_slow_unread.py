"""Whoever does not read what comes by the gigabyte costs the proxy next to nothing.

CMUX_LARGE_BODY says how large a response is, in bytes (1 GiB); everything else is half of that.
"""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import pytest

from tests.helpers.messages import Reader
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import ESTABLISHED, head
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener
from tests.network.mixed_load.memory import footprint
from tests.network.mixed_load.pairs import Pair, next_head, pairs
from tests.network.mixed_load.streams import BLOCK, coded_block, digest, received_digest
from tests.network.mixed_load.wires import LeanWire, accept, while_sending

RESPONSE: Final = int(os.environ.get("CMUX_LARGE_BODY", str(1024**3))) // BLOCK * BLOCK
HALF: Final = RESPONSE // 2 // BLOCK * BLOCK
MOST_GROWTH: Final = 4 * 1024**2
# What the kernel takes on the way, at both ends and in between, may be this much.
FITS: Final = 48 * 1024**2
# After so many round trips through the proxy without progress, the sender is called stopped.
ROUNDS: Final = 25

LENGTH: Final = "Content-Length: {}"
CHUNKED: Final = "Transfer-Encoding: chunked"


class Flow(NamedTuple):
    """Who sends to whom, how much, and how that is framed at either end."""

    sender: Wire
    reader: Reader
    size: int
    sent: str
    received: str

    def ends_by_close(self) -> bool:
        """Return whether it is complete when the sender closes."""
        return self.sent != self.received


class Kind(NamedTuple):
    """What is sent, in which direction, and how it is framed."""

    name: str
    up: bool
    framing: str = "length"


KINDS: Final = {
    "a response of known length": Kind("response", False),
    "a chunked response": Kind("response", False, "chunked"),
    "a response until close": Kind("response", False, "close"),
    "a request of known length": Kind("request", True),
    "a chunked request": Kind("request", True, "chunked"),
    "CONNECT, up": Kind("connect", True),
    "CONNECT, down": Kind("connect", False),
    "an upgrade, up": Kind("upgrade", True),
    "an upgrade, down": Kind("upgrade", False),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_what_nobody_reads_stays_where_it_is_and_comes_whole_when_somebody_does(
    loop_name: str, kind: Kind
) -> None:
    async with proxy_process(loop_name) as proxy:
        await serves(proxy)
        idle = footprint(proxy).resident
        async with flow(proxy, kind) as going:
            sent = await send_until_stopped(proxy, going)
            grown = proxy.peak_memory() - idle
            print(f"{sent >> 20} MiB left the sender; the proxy has grown by {grown >> 10} KiB")
            assert grown < MOST_GROWTH
            rest = send_rest(going, sent)
            got = await while_sending(
                rest, received_digest(going.reader, going.size, going.received)
            )
            assert got == digest(going.size)
            grown = proxy.peak_memory() - idle
            print(f"all has come; the proxy had grown by {grown >> 10} KiB at most")
            assert grown < MOST_GROWTH
        await proxy.stop()


# How it begins


@contextlib.asynccontextmanager
async def flow(proxy: ProxyProcess, kind: Kind) -> AsyncIterator[Flow]:
    """Have one side send and the other not read yet."""
    begin = {"response": response, "request": request, "upgrade": upgrade, "connect": connect}
    async with begin[kind.name](proxy, kind) as pair:
        client, upstream = pair.client, pair.upstream
        sender, reader = (client, upstream) if kind.up else (upstream, client)
        size = RESPONSE if kind.name == "response" else HALF
        sent, received = kind.framing, kind.framing
        if kind.framing == "close":
            sent, received = "length", "chunked"
        yield Flow(sender.wire, reader, size, sent, received)


@contextlib.asynccontextmanager
async def response(proxy: ProxyProcess, kind: Kind) -> AsyncIterator[Pair]:
    fields = {"length": [LENGTH.format(RESPONSE)], "chunked": [CHUNKED], "close": []}
    async with pairs(proxy, 1, "GET / HTTP/1.1") as [pair]:
        await pair.begin_answer(*fields[kind.framing])
        yield pair


@contextlib.asynccontextmanager
async def request(proxy: ProxyProcess, kind: Kind) -> AsyncIterator[Pair]:
    field = CHUNKED if kind.framing == "chunked" else LENGTH.format(HALF)
    async with pairs(proxy, 1, "POST / HTTP/1.1", field) as [pair]:
        yield pair


@contextlib.asynccontextmanager
async def upgrade(proxy: ProxyProcess, _kind: Kind) -> AsyncIterator[Pair]:
    fields = ("Connection: upgrade", "Upgrade: bytes")
    async with pairs(proxy, 1, "GET / HTTP/1.1", *fields) as [pair]:
        await pair.upstream.wire.send(head("HTTP/1.1 101 Switching Protocols", *fields))
        await next_head(pair.client)
        yield pair


@contextlib.asynccontextmanager
async def connect(proxy: ProxyProcess, _kind: Kind) -> AsyncIterator[Pair]:
    with (
        contextlib.closing(WireListener()) as listener,
        await LeanWire.to("127.0.0.1", proxy.port) as wire,
    ):
        route = f"X-Cmux-Port-Internal: {listener.port}"
        await wire.send(head("CONNECT large.test:1 HTTP/1.1", "Host: large.test:1", route))
        with await soon(accept(listener)) as upstream:
            client = Reader(wire)
            assert await soon(client.take(len(ESTABLISHED))) == ESTABLISHED
            yield Pair(client, Reader(upstream))


# How it goes on


async def send_until_stopped(proxy: ProxyProcess, going: Flow) -> int:
    """Send until nobody takes any more, though the proxy had its chance; return how much was."""
    total = 0
    idle_rounds = 0
    while idle_rounds < ROUNDS:
        before = total
        with contextlib.suppress(BlockingIOError):
            while total - before < FITS:
                total += going.sender.sock.send(piece(going, total))
        assert total < FITS, "nobody stops the sender"
        await serves(proxy)
        idle_rounds = 0 if total > before else idle_rounds + 1
    return total


async def send_rest(going: Flow, sent: int) -> None:
    """Send what is left of it, and the end."""
    whole = going.size // BLOCK * len(coded_block(0, going.sent))
    while sent < whole:
        data = piece(going, sent)
        await going.sender.send(data)
        sent += len(data)
    if going.sent == "chunked":
        await going.sender.send(b"0\r\n\r\n")
    if going.ends_by_close():
        going.sender.end()


def piece(going: Flow, sent: int) -> bytes:
    """Return what is left of the block that is under way."""
    size = len(coded_block(0, going.sent))
    return coded_block(sent // size, going.sent)[sent % size :]


async def serves(proxy: ProxyProcess) -> None:
    """Fail unless the proxy serves others meanwhile."""
    with await LeanWire.to("127.0.0.1", proxy.port) as wire:
        await wire.send(head("GET / HTTP/1.1", "Host: a"))
        assert (await later(Reader(wire).response())).status == 400
