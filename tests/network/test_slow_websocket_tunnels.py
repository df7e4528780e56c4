"""A gibibyte through a tunnel inside a WebSocket, into a reader that stops in between.

CMUX_LARGE_BODY is the size in bytes.
"""

import asyncio
import os
import sys
from typing import Final

import pytest

from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.timing import soon
from tests.helpers.tunnel_frames import offer, opened, request
from tests.helpers.wire import Wire, WireListener

SIZE: Final = int(os.environ.get("CMUX_LARGE_BODY", str(1024**3)))
# What the proxy may hold, and its allocator.
MAX_GROWTH: Final = 4 * 1024**2
MAX_BUFFERED: Final = 24 * 1024**2
BUFFER: Final = 256 * 1024
PAYLOAD: Final = bytes(range(256)) * 256
# A message of a client, masked with zeros.
MESSAGE: Final = b"\x82\xff" + len(PAYLOAD).to_bytes(8, "big") + bytes(4) + PAYLOAD
# The sender counts as stopped after this many round trips through the proxy without progress.
ROUNDS: Final = 25


async def push_until_stopped(proxy: ProxyProcess, sender: Wire, data: bytes, offset: int) -> int:
    """Send data repeatedly from an offset in it until nothing is taken; return how much was."""
    total = 0
    idle_rounds = 0
    with await Wire.to("127.0.0.1", proxy.port) as bystander:
        while idle_rounds < ROUNDS:
            try:
                taken = sender.sock.send(data[(offset + total) % len(data) :])
            except BlockingIOError:
                taken = 0
            total += taken
            assert total < MAX_BUFFERED, "the sender is not stopped"
            await bystander.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b" 400 " in await soon(bystander.receive())
            idle_rounds = 0 if taken else idle_rounds + 1
    return total


async def read(reader: Wire, size: int) -> None:
    """Read so many bytes at least, and forget them."""
    while size > 0:
        size -= len(await soon(reader.receive(1024**2)))
        reader.received.clear()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_a_reader_that_stops_keeps_the_memory_flat(loop_name: str, up: bool) -> None:
    listener = WireListener(buffer=BUFFER)
    async with proxy_process(loop_name) as proxy:
        with await Wire.to("127.0.0.1", proxy.port, BUFFER) as client:
            await client.send(request(f"/.cmux/tcp/{listener.port}", offer("binary")))
            with await soon(listener.accept()) as upstream:
                assert await soon(client.receive()) == opened("binary")
                sender, reader = (client, upstream) if up else (upstream, client)
                data = MESSAGE if up else PAYLOAD
                sent = await transfer(sender, reader, data, 0, SIZE // 8)
                before = proxy.peak_memory()
                for _ in range(3):
                    pushed = await push_until_stopped(proxy, sender, data, sent)
                    await read(reader, pushed * len(PAYLOAD) // len(data) // 2)
                    sent += pushed
                    sent = await transfer(sender, reader, data, sent, SIZE // 4)
                assert proxy.peak_memory() - before < MAX_GROWTH
        await proxy.stop()
    listener.close()


async def transfer(sender: Wire, reader: Wire, data: bytes, sent: int, size: int) -> int:
    """Send and read about so many bytes; return how many were sent in total."""
    rest = data[sent % len(data) :]
    whole = data * (size // len(data))
    sending = asyncio.get_running_loop().create_task(sender.send(rest + whole))
    await read(reader, size // len(data) * len(PAYLOAD) // 2)
    while not sending.done():
        await read(reader, 1)
    await sending
    return sent + len(rest) + len(whole)
