"""What a native stream reads, and when: full reads, ends, urgent bytes, resets, pauses."""

import asyncio
import contextlib
import os
import socket

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from tests.helpers.native import (
    HOSTINGS,
    BufferedRecorder,
    Recorder,
    Streams,
    arrive,
    arrive_end,
    arrive_reset,
    await_events,
    spin_until,
    turns,
    unread,
    watched_events,
)
from tests.helpers.wire import Wire

__all__ = ["HOSTINGS"]

every_family = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])


@every_family
async def test_bytes_pass_both_ways_and_the_end_closes(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family)
        await owner.wire.send(b"hello")
        await owner.receives(b"hello")
        owner.stream.write(b"welcome")
        assert await owner.wire.receive() == b"welcome"
        owner.wire.end()
        await owner.lost()
        assert owner.error is None
        assert owner.calls == [
            "connection_made",
            "data_received",
            "eof_received",
            "connection_lost",
        ]
        assert await owner.wire.receive() == b""


@every_family
@pytest.mark.parametrize("size", [1, 7, 8, 9, 11, 16, 17, 80])
@pytest.mark.parametrize("is_buffered", [False, True])
async def test_an_end_that_comes_with_bytes_is_read_after_them(
    family: int, size: int, is_buffered: bool
) -> None:
    async with Streams() as streams:
        owner = await streams.open(BufferedRecorder(8) if is_buffered else Recorder(), family)
        owner.stream.max_size = 8
        data = bytes(range(size))
        arrive(owner, data)
        arrive_end(owner)
        await owner.lost()
        assert owner.received == data
        assert owner.calls[-2:] == ["eof_received", "connection_lost"]
        assert owner.error is None


@pytest.mark.parametrize("size", [8, 11])
async def test_an_end_in_the_segment_of_the_last_bytes_is_read(size: int) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 8
        data = bytes(range(size))
        # The kernel keeps the bytes back until the end joins them.
        owner.wire.sock.send(data, socket.MSG_MORE)
        await turns()
        assert not owner.received
        owner.wire.end()
        await owner.lost()
        assert owner.received == data


@pytest.mark.parametrize("at", [1, 7, 8, 9, 16])
async def test_an_urgent_byte_ends_a_read_early_and_nothing_is_left_behind(at: int) -> None:
    before, after = bytes(at), b"after"
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 8
        arrive(owner, before)
        owner.wire.sock.send(b"!", socket.MSG_OOB)
        owner.wire.sock.send(after)
        spin_until(lambda: unread(owner.fd) >= at)
        await_events(owner.fd, 2)  # POLLPRI
        await owner.receives(before + after)
        await owner.wire.send(b"more")
        await owner.receives(before + after + b"more")


async def test_a_full_read_goes_on_in_the_next_turn_and_others_have_theirs_between() -> None:
    async with Streams() as streams:
        order: list[str] = []
        greedy, modest = await streams.open(), await streams.open()
        greedy.on["data_received"] = lambda: order.append("greedy")
        modest.on["data_received"] = lambda: order.append("modest")
        greedy.stream.max_size = 8
        arrive(greedy, bytes(32))
        arrive(modest, b"x")
        await greedy.receives(bytes(32))
        await modest.receives(b"x")
        assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]


async def test_the_loop_and_others_have_their_turn_between_two_full_reads() -> None:
    def note() -> None:
        order.append("greedy")
        asyncio.get_running_loop().call_soon(order.append, "loop")
        if len(order) == 1:
            arrive(modest, b"x")

    async with Streams() as streams:
        order: list[str] = []
        greedy, modest = await streams.open(), await streams.open()
        greedy.on["data_received"] = note
        modest.on["data_received"] = lambda: order.append("modest")
        greedy.stream.max_size = 8
        arrive(greedy, bytes(40))
        await greedy.receives(bytes(40))
        await modest.receives(b"x")
        await turns(1)
        assert order[0] == "greedy"
        assert sorted(order[1:3]) == ["loop", "modest"]
        assert order.count("greedy") == order.count("loop") == 5
        # A nested reactor that has events too may have two batches in one turn of its loop.
        assert "greedy greedy greedy" not in " ".join(order)


async def test_a_read_that_is_exactly_full_goes_on_when_more_comes() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 4
        for number in range(1, 9):
            arrive(owner, b"four")
            await owner.receives(b"four" * number)
            await turns(number)


async def test_no_read_is_larger_than_the_buffer_of_the_reactor() -> None:
    data = os.urandom(600_000)
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.pause_reading()
        owner.stream.max_size = 1 << 30
        sizes: list[int] = []
        owner.on["data_received"] = lambda: sizes.append(len(owner.received) - sum(sizes))
        # A peer that is far ahead, as far as the kernel lets it be.
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += owner.wire.sock.send(data[sent:])
        owner.stream.resume_reading()
        await owner.wire.send(data[sent:])
        await owner.receives(data)
        assert max(sizes) <= 256 * 1024


@every_family
async def test_a_paused_stream_reads_nothing_until_it_resumes(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family)
        owner.stream.pause_reading()
        owner.stream.pause_reading()
        arrive(owner, b"one")
        await turns()
        arrive(owner, b"two")
        await turns()
        assert owner.calls == ["connection_made"]
        owner.stream.resume_reading()
        owner.stream.resume_reading()
        await owner.receives(b"onetwo")
        arrive(owner, b"three")
        await owner.receives(b"onetwothree")


async def test_pausing_does_not_change_what_the_kernel_watches() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        watched = watched_events(owner.fd)
        assert watched is not None
        owner.stream.pause_reading()
        assert watched_events(owner.fd) == watched
        arrive(owner, b"meanwhile")
        await turns()
        # An event while it is paused changes nothing either.
        assert watched_events(owner.fd) == watched
        owner.stream.resume_reading()
        assert watched_events(owner.fd) == watched
        await owner.receives(b"meanwhile")


async def test_a_pause_between_two_full_reads_keeps_the_rest() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 4
        owner.on["data_received"] = owner.stream.pause_reading
        arrive(owner, b"onetwothree!")
        for number in range(1, 4):
            await owner.until(lambda count=number: len(owner.received) == 4 * count)  # type: ignore[misc]
            await turns()
            assert len(owner.received) == 4 * number
            owner.stream.resume_reading()
        await owner.receives(b"onetwothree!")


async def test_pausing_and_resuming_in_one_turn_is_one_read_in_the_next() -> None:
    def pause_and_resume() -> None:
        for _ in range(3):
            owner.stream.pause_reading()
            owner.stream.resume_reading()
        if len(owner.received) == 8:
            owner.stream.pause_reading()

    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 4
        owner.on["data_received"] = pause_and_resume
        arrive(owner, b"123456789abc")
        await owner.until(lambda: len(owner.received) >= 8)
        await turns()
        assert owner.received == b"12345678"
        owner.stream.resume_reading()
        await owner.receives(b"123456789abc")


async def test_resuming_several_times_in_one_turn_is_one_read_in_the_next() -> None:
    def note() -> None:
        order.append("read")
        asyncio.get_running_loop().call_soon(order.append, "loop")

    async with Streams() as streams:
        order: list[str] = []
        owner = await streams.open()
        owner.stream.max_size = 4
        owner.stream.pause_reading()
        arrive(owner, b"123456789abc")
        await turns()
        owner.on["data_received"] = note
        for _ in range(3):
            owner.stream.resume_reading()
            owner.stream.pause_reading()
        owner.stream.resume_reading()
        await owner.receives(b"123456789abc")
        await turns(1)
        assert order == ["read", "loop"] * 3


@every_family
async def test_an_end_that_comes_while_paused_is_reported_after_the_bytes(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family)
        owner.stream.pause_reading()
        arrive(owner, b"last")
        arrive_end(owner)
        await turns()
        assert owner.calls == ["connection_made"]
        owner.stream.resume_reading()
        await owner.lost()
        assert owner.received == b"last"
        assert owner.error is None


@pytest.mark.parametrize("data", [b"", b"last", b"exactly8", b"more than eight"])
async def test_a_reset_that_comes_while_paused_is_reported_after_the_bytes(data: bytes) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 8
        owner.stream.pause_reading()
        if data:
            arrive(owner, data)
        arrive_reset(owner)
        await turns()
        assert owner.calls == ["connection_made"]
        owner.stream.resume_reading()
        await owner.lost()
        assert owner.received == data
        assert isinstance(owner.error, ConnectionResetError)
        assert "eof_received" not in owner.calls


@pytest.mark.parametrize("data", [b"", b"last", b"exactly8", b"more than eight"])
async def test_a_reset_behind_bytes_is_reported_after_them(data: bytes) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.max_size = 8
        if data:
            arrive(owner, data)
        arrive_reset(owner)
        await owner.lost()
        assert owner.received == data
        assert isinstance(owner.error, ConnectionResetError)


@every_family
async def test_after_an_end_that_keeps_it_open_nothing_is_read_again(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(BufferedRecorder(64, stays_open=True), family)
        owner.wire.end()
        await owner.until(lambda: "eof_received" in owner.calls)
        calls = list(owner.calls)
        owner.stream.write(b"still open")
        assert await owner.wire.receive() == b"still open"
        owner.stream.pause_reading()
        owner.stream.resume_reading()
        # Both ends are sent now, which is an event of its own.
        owner.stream.write_eof()
        assert await owner.wire.receive() == b""
        await turns()
        assert owner.calls == calls
        owner.stream.close()
        await owner.lost()
        assert owner.error is None


@every_family
@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_connection_that_both_have_ended_stays_until_it_is_closed(
    family: int, is_paused: bool
) -> None:
    async with Streams() as streams:
        owner = await streams.open(Recorder(stays_open=True), family)
        if is_paused:
            owner.stream.pause_reading()
        owner.stream.write_eof()
        assert await owner.wire.receive() == b""
        arrive(owner, b"last")
        arrive_end(owner)
        await turns()
        if is_paused:
            assert owner.calls == ["connection_made"]
            owner.stream.resume_reading()
        await owner.until(lambda: "eof_received" in owner.calls)
        assert owner.received == b"last"
        await turns()
        assert not owner.is_lost
        owner.stream.close()
        await owner.lost()
        assert owner.error is None


async def test_owners_change_while_a_read_goes_on() -> None:
    # The urgent byte cuts the bytes in two reads, and the end makes a third, of one event.
    async with Streams() as streams:
        first = await streams.open()
        second, third = BufferedRecorder(64), Recorder()
        first.on["data_received"] = lambda: first.stream.set_protocol(second)
        second.on["buffer_updated"] = lambda: first.stream.set_protocol(third)
        arrive(first, b"first")
        first.wire.sock.send(b"!", socket.MSG_OOB)
        first.wire.sock.send(b"second")
        arrive_end(first)
        await third.lost()
        assert first.calls == ["connection_made", "data_received"]
        assert first.received == b"first"
        assert second.calls == ["get_buffer", "buffer_updated"]
        assert second.received == b"second"
        assert third.calls == ["eof_received", "connection_lost"]
        # `Streams` waits for the loss of the first.
        first.note("connection_lost")


async def test_owners_change_from_read_to_read() -> None:
    async with Streams() as streams:
        first = await streams.open()
        second = BufferedRecorder(4)
        first.stream.max_size = 8
        first.on["data_received"] = lambda: first.stream.set_protocol(second)
        second.on["buffer_updated"] = lambda: first.stream.set_protocol(first)
        arrive(first, b"8 bytes.four8 bytes.four8")
        await first.until(lambda: len(first.received) == 17)
        assert first.received == b"8 bytes.8 bytes.8"
        assert second.received == b"fourfour"
        assert first.stream.get_protocol() is second
        first.stream.set_protocol(first)


class Fleeting(bytearray):
    """A buffer whose release fails a system call, and so sets errno to another error."""

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(-1)


class FleetingRecorder(BufferedRecorder):
    """Forgets its buffer at once, so that its release is the last thing that a read does."""

    def get_buffer(self, _size: int) -> memoryview:
        self.note("get_buffer")
        return memoryview(Fleeting(4))

    def buffer_updated(self, count: int) -> None:
        self.received += bytes(count)
        self.note("buffer_updated")


async def test_the_error_of_a_read_survives_the_release_of_its_buffer() -> None:
    async with Streams() as streams:
        owner = await streams.open(FleetingRecorder(0))
        # A read that fills the buffer, and one that finds nothing.
        arrive(owner, b"full")
        await owner.until(lambda: owner.calls.count("get_buffer") == 2)
        await turns()
        assert not owner.is_lost
        arrive(owner, b"full")
        await owner.receives(bytes(8))


async def test_a_peer_name_is_none_where_the_stream_was_not_accepted() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        assert owner.stream.get_extra_info("peername") is None
        assert owner.stream.get_extra_info("peername", "nobody") == "nobody"
        assert owner.stream.get_extra_info("sslcontext") is None
        assert owner.stream.can_write_eof()
        assert isinstance(owner.wire, Wire)
