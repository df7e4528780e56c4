"""How much is read at a time, on both loops, through real sockets."""

import asyncio
from typing import Any

import pytest

from cmux_proxy.net.asyncio_backend import is_asyncio
from cmux_proxy.net.read_buffer import ReadSize
from tests.helpers.timing import soon
from tests.helpers.wire import WireListener


class Reads:
    """An owner that is no protocol of asyncio's, and remembers everything."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.events: list[str] = []
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.events.append("end")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")
        self.over.set_result(None)

    def pause_writing(self) -> None:
        self.events.append("paused")

    def resume_writing(self) -> None:
        self.events.append("resumed")


@pytest.mark.parametrize("max_bytes", [16 * 1024, 100_000, 250_000])
@pytest.mark.parametrize("times", [1, 2], ids=["one owner", "a second owner"])
async def test_no_read_is_larger_than_it_may_be(max_bytes: int, times: int) -> None:
    loop = asyncio.get_running_loop()
    listener = WireListener()
    size = ReadSize(is_asyncio(loop), max_bytes)
    reads = Reads()
    connecting: Any = lambda: reads  # noqa: E731
    transport: Any
    transport, _ = await loop.create_connection(connecting, "127.0.0.1", listener.port)
    size.limit(transport, reads)
    for _ in range(times - 1):
        reads = Reads()
        size.install(transport, reads)
    content = bytes(range(256)) * 4096
    with await soon(listener.accept()) as wire:
        transport.pause_reading()
        sending = loop.create_task(wire.send(content))
        transport.resume_reading()
        await soon(sending)
    await soon(reads.over)
    listener.close()
    assert b"".join(reads.pieces) == content
    assert max(map(len, reads.pieces)) <= max_bytes
    assert reads.events[-2:] == ["end", "lost"]


async def test_an_owner_is_paused_when_the_peer_does_not_keep_up() -> None:
    loop = asyncio.get_running_loop()
    listener = WireListener(buffer=4096)
    reads = Reads()
    connecting: Any = lambda: reads  # noqa: E731
    transport: Any
    transport, _ = await loop.create_connection(connecting, "127.0.0.1", listener.port)
    ReadSize(is_asyncio(loop), 16 * 1024).limit(transport, reads)
    transport.set_write_buffer_limits(high=0)
    with await soon(listener.accept()) as wire:
        transport.write(bytes(8_000_000))
        assert reads.events[-1] == "paused"
        left = 8_000_000
        while left:
            left -= len(await soon(wire.receive()))
    await soon(reads.over)
    listener.close()
    assert reads.events[-3:] == ["resumed", "end", "lost"]
