"""Large transfers between native streams: all of their bytes arrive, moved or read."""

import asyncio
import random
import socket

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net._native_splice import NativePipe
from cmux_proxy.net.splice import LIMITED_SIZE, start_transfer
from tests.helpers.native import HOSTINGS, Recorder, Streams
from tests.helpers.timing import soon

__all__ = ["HOSTINGS"]

SIZE = 5_000_000


class Forwarder(Recorder):
    """Writes what it gets to a sink, and lets the kernel move the rest of large reads."""

    def __init__(self, sink: Recorder) -> None:
        super().__init__(stays_open=True)
        self.sink = sink
        self.pipe = NativePipe(True, LIMITED_SIZE)
        self.moved = 0
        sink.stream.set_write_buffer_limits(high=0)
        sink.on["pause_writing"] = lambda: self.stream.pause_reading()
        sink.on["resume_writing"] = lambda: self.stream.resume_reading()

    def data_received(self, data: bytes, /) -> None:
        self.sink.stream.write(data)
        if len(data) >= 32 * 1024:
            start_transfer(
                self.pipe, self.stream, self.sink.stream, None, self.count_moved, len(data)
            )

    def count_moved(self, count: int) -> None:
        self.moved += count

    def eof_received(self) -> bool:
        self.sink.stream.write_eof()
        return super().eof_received()


async def send(owner: Recorder, data: bytes) -> None:
    await owner.wire.send(data)
    owner.wire.end()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize("read_size", [5000, 1 << 20], ids=["slow", "fast"])
async def test_every_byte_of_a_large_transfer_arrives(family: int, read_size: int) -> None:
    data = random.Random(1).randbytes(SIZE)
    async with Streams() as streams:
        sink = await streams.open(family=family)
        source = await streams.open(Forwarder(sink), family)
        assert isinstance(source, Forwarder)
        sending = asyncio.get_running_loop().create_task(send(source, data))
        while await soon(sink.wire.receive(read_size)):
            pass
        await sending
        assert len(sink.wire.received) == SIZE
        assert sink.wire.received == data
        # The kernel has moved some of it.
        assert source.moved
        source.pipe.close()
