"""A peer that does not read a gigabyte costs the proxy little memory.

CMUX_LARGE_BODY is the size of a response in bytes (1 GiB); other transfers are half as large.
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
from tests.network.mixed_load.streams import BLOCK, digest, encoded_block, received_digest
from tests.network.mixed_load.wires import LeanWire, accept, while_sending

RESPONSE: Final = int(os.environ.get("CMUX_LARGE_BODY", str(1024**3))) // BLOCK * BLOCK
HALF: Final = RESPONSE // 2 // BLOCK * BLOCK
MAX_GROWTH: Final = 4 * 1024**2
# The kernel's buffers at both ends and in between may take this much.
MAX_BUFFERED: Final = 48 * 1024**2
# A sender counts as stopped after this many round trips through the proxy without progress.
ROUNDS: Final = 25

LENGTH: Final = "Content-Length: {}"
CHUNKED: Final = "Transfer-Encoding: chunked"


class Flow(NamedTuple):
    """The sender, the reader, the size, and the framing at both ends."""

    sender: Wire
    reader: Reader
    size: int
    sent: str
    received: str

    def ends_by_close(self) -> bool:
        """Return whether the close of the sender ends the body."""
        return self.sent != self.received


class FlowType(NamedTuple):
    """What is sent, in which direction, and its framing."""

    name: str
    up: bool
    framing: str = "length"


FLOW_TYPES: Final = {
    "a response of known length": FlowType("response", False),
    "a chunked response": FlowType("response", False, "chunked"),
    "a response until close": FlowType("response", False, "close"),
    "a request of known length": FlowType("request", True),
    "a chunked request": FlowType("request", True, "chunked"),
    "CONNECT, up": FlowType("connect", True),
    "CONNECT, down": FlowType("connect", False),
    "an upgrade, up": FlowType("upgrade", True),
    "an upgrade, down": FlowType("upgrade", False),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("flow_type", FLOW_TYPES.values(), ids=FLOW_TYPES)
async def test_unread_bytes_cost_little_memory_and_arrive_completely_when_read(
    loop_name: str, flow_type: FlowType
) -> None:
    async with proxy_process(loop_name) as proxy:
        await serves(proxy)
        idle = footprint(proxy).resident
        async with flow(proxy, flow_type) as transfer:
            sent = await send_until_stopped(proxy, transfer)
            grown = proxy.peak_memory() - idle
            print(f"{sent >> 20} MiB were sent; the proxy has grown by {grown >> 10} KiB")
            assert grown < MAX_GROWTH
            remaining = send_remaining(transfer, sent)
            got = await while_sending(
                remaining, received_digest(transfer.reader, transfer.size, transfer.received)
            )
            assert got == digest(transfer.size)
            grown = proxy.peak_memory() - idle
            print(f"all bytes have arrived; the proxy had grown by {grown >> 10} KiB at most")
            assert grown < MAX_GROWTH
        await proxy.stop()


# Start of a transfer


@contextlib.asynccontextmanager
async def flow(proxy: ProxyProcess, flow_type: FlowType) -> AsyncIterator[Flow]:
    """Start a transfer whose reader does not read yet."""
    begin = {"response": response, "request": request, "upgrade": upgrade, "connect": connect}
    async with begin[flow_type.name](proxy, flow_type) as pair:
        client, upstream = pair.client, pair.upstream
        sender, reader = (client, upstream) if flow_type.up else (upstream, client)
        size = RESPONSE if flow_type.name == "response" else HALF
        sent, received = flow_type.framing, flow_type.framing
        if flow_type.framing == "close":
            sent, received = "length", "chunked"
        yield Flow(sender.wire, reader, size, sent, received)


@contextlib.asynccontextmanager
async def response(proxy: ProxyProcess, flow_type: FlowType) -> AsyncIterator[Pair]:
    fields = {"length": [LENGTH.format(RESPONSE)], "chunked": [CHUNKED], "close": []}
    async with pairs(proxy, 1, "GET / HTTP/1.1") as [pair]:
        await pair.begin_response(*fields[flow_type.framing])
        yield pair


@contextlib.asynccontextmanager
async def request(proxy: ProxyProcess, flow_type: FlowType) -> AsyncIterator[Pair]:
    field = CHUNKED if flow_type.framing == "chunked" else LENGTH.format(HALF)
    async with pairs(proxy, 1, "POST / HTTP/1.1", field) as [pair]:
        yield pair


@contextlib.asynccontextmanager
async def upgrade(proxy: ProxyProcess, _flow_type: FlowType) -> AsyncIterator[Pair]:
    fields = ("Connection: upgrade", "Upgrade: bytes")
    async with pairs(proxy, 1, "GET / HTTP/1.1", *fields) as [pair]:
        await pair.upstream.wire.send(head("HTTP/1.1 101 Switching Protocols", *fields))
        await next_head(pair.client)
        yield pair


@contextlib.asynccontextmanager
async def connect(proxy: ProxyProcess, _flow_type: FlowType) -> AsyncIterator[Pair]:
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


# The transfer


async def send_until_stopped(proxy: ProxyProcess, transfer: Flow) -> int:
    """Send until the sender is stopped; return the number of bytes."""
    total = 0
    idle_rounds = 0
    while idle_rounds < ROUNDS:
        before = total
        with contextlib.suppress(BlockingIOError):
            while total - before < MAX_BUFFERED:
                total += transfer.sender.sock.send(remaining_block(transfer, total))
        assert total < MAX_BUFFERED, "the sender is not stopped"
        await serves(proxy)
        idle_rounds = 0 if total > before else idle_rounds + 1
    return total


async def send_remaining(transfer: Flow, sent: int) -> None:
    """Send the remaining bytes and the end."""
    total = transfer.size // BLOCK * len(encoded_block(0, transfer.sent))
    while sent < total:
        data = remaining_block(transfer, sent)
        await transfer.sender.send(data)
        sent += len(data)
    if transfer.sent == "chunked":
        await transfer.sender.send(b"0\r\n\r\n")
    if transfer.ends_by_close():
        transfer.sender.end()


def remaining_block(transfer: Flow, sent: int) -> bytes:
    """Return the remaining bytes of the current block."""
    size = len(encoded_block(0, transfer.sent))
    return encoded_block(sent // size, transfer.sent)[sent % size :]


async def serves(proxy: ProxyProcess) -> None:
    """Fail unless the proxy serves another client meanwhile."""
    with await LeanWire.to("127.0.0.1", proxy.port) as wire:
        await wire.send(head("GET / HTTP/1.1", "Host: a"))
        assert (await later(Reader(wire).response())).status == 400
