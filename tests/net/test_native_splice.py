"""Large transfers between native streams: what the kernel moves, and what is left to the owner."""

import contextlib
import errno
import os
import resource
import select
import socket
from collections.abc import Callable

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net._native_splice import NativePipe
from cmux_proxy.net.socket_queues import is_behind, send_room
from cmux_proxy.net.splice import LIMITED_SIZE, MIN_MOVE
from tests.helpers.native import (
    HOSTINGS,
    Recorder,
    Streams,
    arrive,
    arrive_end,
    arrive_reset,
    await_events,
    reports,
    turns,
)
from tests.helpers.sockets import stream_of
from tests.helpers.timing import soon

__all__ = ["HOSTINGS"]

MAX_HELD = 256 * 1024
every_family = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])


class Refusal(Exception):
    """What a callback raises."""


class Length:
    """A body of a known length."""

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining


class Transfer:
    """A transfer between two streams, under way; `moved` has what each move has moved."""

    def __init__(
        self, pipe: NativePipe, source: Recorder, sink: Recorder, body: Length | None = None
    ) -> None:
        self.moved: list[int] = []
        self.on_moved: Callable[[], object] = lambda: None
        self.source = source
        self.sink = sink
        sink.stream.set_write_buffer_limits(high=0)
        sink.on["pause_writing"] = source.stream.pause_reading
        sink.on["resume_writing"] = source.stream.resume_reading
        self._pipe = pipe
        self._body = body
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._pipe.start(self.source.stream, self.sink.stream, self._body, self.count)

    def count(self, number: int) -> None:
        """Note a move."""
        assert 0 < number <= MAX_HELD
        self.moved.append(number)
        self.on_moved()

    @property
    def is_over(self) -> bool:
        """Whether the owner of the source reads."""
        return self.source.stream.get_protocol() is self.source

    async def delivers(self, data: bytes) -> None:
        """Wait until the peer of the sink has these bytes, and no others before them."""
        while len(self.sink.wire.received) < len(data):
            assert await soon(self.sink.wire.receive())
        assert self.sink.wire.received == data


class Spliced(Streams):
    """Streams with a pipe, which is closed at the end of a block."""

    def __init__(self, is_wanted: bool = True) -> None:
        self.pipe = NativePipe(is_wanted, LIMITED_SIZE)

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self.pipe.close()

    async def transfer(self, body: Length | None = None) -> Transfer:
        """Return a transfer between two new streams."""
        return Transfer(self.pipe, await self.open(), await self.open(), body)


def fill(owner: Recorder) -> bytes:
    """Send to the peer, around the stream, until the kernel takes no more; return the bytes."""
    sent = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            piece = os.urandom(65536)
            sent += piece[: os.write(owner.fd, piece)]
    return sent


@every_family
async def test_what_comes_is_moved_and_not_read(family: int) -> None:
    data = os.urandom(100_000)
    async with Spliced() as streams:
        source, sink = await streams.open(family=family), await streams.open(family=family)
        on = Transfer(streams.pipe, source, sink)
        await source.wire.send(data)
        await on.delivers(data)
        assert sum(on.moved) + len(source.received) == len(data)
        assert on.moved[0] > 1
        assert streams.pipe.is_open()


async def test_a_transfer_goes_on_after_a_pause_of_the_sender() -> None:
    data = os.urandom(100_000)
    async with Spliced() as streams:
        on = await streams.transfer()
        for _ in range(3):
            on.sink.wire.received.clear()
            arrive(on.source, data)
            await on.delivers(data)
            await turns()
            assert not on.is_over
        assert not on.source.received


async def test_little_is_moved_and_then_the_owner_reads() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, b"moved")
        await on.delivers(b"moved")
        await turns()
        assert on.is_over
        arrive(on.source, b"read")
        await on.source.receives(b"read")
        assert on.moved == [5]


async def test_what_is_there_when_a_transfer_starts_in_a_full_read_is_moved() -> None:
    # No event announces the rest of it.
    data = os.urandom(100_000)
    async with Spliced() as streams:
        source, sink = await streams.open(), await streams.open()
        source.stream.max_size = 40_000
        transfers: list[Transfer] = []
        source.on["data_received"] = lambda: transfers.append(Transfer(streams.pipe, source, sink))
        arrive(source, data)
        await source.until(lambda: bool(source.received))
        while len(sink.wire.received) < len(data) - 40_000:
            assert await soon(sink.wire.receive())
        assert source.received + sink.wire.received == data
        assert len(transfers) == 1


@every_family
async def test_the_end_is_reported_once_by_the_owner_after_all_bytes(family: int) -> None:
    data = os.urandom(90_000)
    async with Spliced() as streams:
        source = await streams.open(Recorder(stays_open=True), family)
        on = Transfer(streams.pipe, source, await streams.open(family=family))
        arrive(source, data)
        arrive_end(source)
        await source.until(lambda: "eof_received" in source.calls)
        await on.delivers(data)
        await turns()
        assert source.calls.count("eof_received") == 1
        assert on.is_over


async def test_the_end_alone_is_reported() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive_end(on.source)
        await on.source.lost()
        assert on.source.calls[-2:] == ["eof_received", "connection_lost"]
        assert on.source.error is None


async def test_a_reset_of_the_source_is_an_error_and_no_end() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive_reset(on.source)
        await on.source.lost()
        assert isinstance(on.source.error, ConnectionResetError)
        assert "eof_received" not in on.source.calls
        assert not on.moved


async def test_a_reset_behind_bytes_is_an_error_too() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, bytes(90_000))
        arrive_reset(on.source)
        await on.source.lost()
        assert isinstance(on.source.error, ConnectionResetError)


async def test_a_reset_of_the_sink_is_the_loss_of_the_sink_and_ends_the_transfer() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, bytes(90_000))
        arrive_reset(on.sink)
        await on.sink.lost()
        assert on.sink.error is not None
        arrive(on.source, b"more")
        await on.source.until(lambda: on.source.received.endswith(b"more"))
        assert on.is_over


async def test_urgent_bytes_do_not_stop_a_transfer() -> None:
    # The kernel moves nothing past such a byte: the owner reads over it.
    data = os.urandom(90_000)
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, data)
        on.source.wire.sock.send(b"!", socket.MSG_OOB)
        on.source.wire.sock.send(b"end")
        await_events(on.source.fd, select.POLLPRI)
        await on.source.until(lambda: on.source.received.endswith(b"end"))
        await on.delivers(data)


# The sink


async def test_no_more_is_moved_than_a_full_sink_has_room_for() -> None:
    data = os.urandom(100_000)
    async with Spliced() as streams:
        on = await streams.transfer()
        before = fill(on.sink)
        arrive(on.source, data)
        await turns()
        # The kernel may have found room since; what it had none for waits here.
        assert 0 < on.sink.stream.get_write_buffer_size() <= MIN_MOVE
        assert on.sink.calls[-1] == "pause_writing"
        await on.delivers(before + data)
        assert not on.source.received


async def test_a_full_sink_gets_as_much_as_it_has_room_for() -> None:
    data = os.urandom(100_000)
    async with Spliced() as streams:
        source, sink = await streams.open(), await streams.open(buffer=200_000)
        on = Transfer(streams.pipe, source, sink)
        before = b""
        while not is_behind(sink.stream):
            piece = os.urandom(16384)
            before += piece[: os.write(sink.fd, piece)]
        room = send_room(sink.stream)
        assert room > MIN_MOVE, "the buffer is too small for this test"
        arrive(source, data)
        await turns()
        # An acknowledgement may have made room since.
        assert on.moved[0] >= min(room, len(data))
        await on.delivers(before + data)


async def test_a_sink_whose_peer_takes_everything_gets_more_than_it_has_room_for() -> None:
    data = os.urandom(100_000)
    async with Spliced() as streams:
        source, sink = await streams.open(), await streams.open(buffer=20_000)
        on = Transfer(streams.pipe, source, sink)
        assert send_room(sink.stream) < 50_000
        arrive(source, data)
        await on.delivers(data)
        assert on.moved[0] > 50_000


async def test_nothing_overtakes_what_waits_in_the_sink() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        on.sink.on.clear()
        before = fill(on.sink)
        on.sink.stream.write(b"waits")
        arrive(on.source, bytes(90_000))
        await on.source.receives(bytes(90_000))
        assert on.is_over
        assert not on.moved
        await on.delivers(before + b"waits")


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
async def test_nothing_is_moved_into_a_sink_that_has_ended(end: str) -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        getattr(on.sink.stream, end)()
        arrive(on.source, bytes(90_000))
        await on.source.receives(bytes(90_000))
        assert on.is_over
        assert not on.moved


async def test_both_directions_at_once() -> None:
    up, down = os.urandom(900_000), os.urandom(800_000)
    async with Spliced() as streams:
        one, other = await streams.open(), await streams.open()
        there, back = Transfer(streams.pipe, one, other), Transfer(streams.pipe, other, one)
        sent = [0, 0]
        while len(there.sink.wire.received) < len(up) or len(back.sink.wire.received) < len(down):
            for number, (on, data) in enumerate([(there, up), (back, down)]):
                # A transfer that has run dry ends.
                if on.is_over:
                    on.start()
                with contextlib.suppress(BlockingIOError):
                    sent[number] += on.source.wire.sock.send(data[sent[number] :][:200_000])
            await turns(2)
            for on in (there, back):
                on.sink.wire.take_arrived()
            for on in (there, back):
                assert not on.source.received, "bytes were read between two transfers"
        assert there.sink.wire.received == up
        assert back.sink.wire.received == down


# The owner


async def test_a_source_whose_reading_is_paused_is_not_moved() -> None:
    data = os.urandom(90_000)
    async with Spliced() as streams:
        on = await streams.transfer()
        on.source.stream.pause_reading()
        arrive(on.source, data)
        await turns()
        assert not on.moved
        on.source.stream.resume_reading()
        await on.delivers(data)
        assert not on.source.received


async def test_a_pause_after_a_move_leaves_the_rest_until_reading_goes_on() -> None:
    data = os.urandom(60_000)
    async with Spliced() as streams:
        on = await streams.transfer()
        on.on_moved = on.source.stream.pause_reading
        arrive(on.source, data)
        await on.delivers(data)
        arrive(on.source, data)
        await turns()
        assert len(on.moved) == 1
        on.source.stream.resume_reading()
        await on.delivers(data + data)


@pytest.mark.parametrize("length", [MIN_MOVE, MIN_MOVE + 1, 90_000])
async def test_the_owner_reads_the_last_byte_of_a_body_and_what_follows_it(length: int) -> None:
    data = os.urandom(length)
    async with Spliced() as streams:
        body = Length(length)
        on = await streams.transfer(body)
        arrive(on.source, data + b"next")
        await on.source.until(lambda: on.source.received.endswith(b"next"))
        moved = sum(on.moved)
        assert moved == (0 if length == MIN_MOVE else length - 1)
        assert body.remaining == length - moved
        assert on.source.received == data[moved:] + b"next"
        assert on.is_over


@pytest.mark.parametrize("size", [5, 90_000], ids=["little", "much"])
async def test_an_owner_that_takes_the_source_over_keeps_it(size: int) -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        other = Recorder()
        on.on_moved = lambda: on.source.stream.set_protocol(other)
        arrive(on.source, bytes(size))
        await on.delivers(bytes(size))
        await turns()
        assert on.source.stream.get_protocol() is other
        arrive(on.source, b"other")
        await other.receives(b"other")
        assert on.moved == [size]
        on.source.stream.set_protocol(on.source)


async def test_a_callback_that_fails_is_the_end_of_the_source_alone() -> None:
    def fail() -> None:
        raise Refusal

    async with Spliced() as streams:
        on = await streams.transfer()
        fill(on.sink)
        on.on_moved = fail
        with reports() as contexts:
            arrive(on.source, b"secret" * 10_000)
            await on.source.lost()
        assert [type(context["exception"]) for context in contexts] == [Refusal]
        # None of it reaches another connection.
        another = await streams.transfer()
        arrive(another.source, b"public" * 10_000)
        await another.delivers(b"public" * 10_000)


async def test_the_owner_gets_the_events_of_its_own_sending() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        source = on.source
        source.stream.set_write_buffer_limits(high=0)
        before = fill(source)
        source.stream.write(b"waits")
        assert source.calls[-1] == "pause_writing"
        while len(source.wire.received) < len(before) + 5:
            assert await soon(source.wire.receive())
        await source.until(lambda: source.calls[-1] == "resume_writing")
        assert not on.is_over


async def test_no_turn_moves_more_than_may_be_held() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        on.source.stream.pause_reading()
        for owner in (on.source, on.sink):
            for sock in (owner.wire.sock, owner.stream.get_extra_info("socket")):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        data = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                piece = os.urandom(4096)
                data += piece[: on.source.wire.sock.send(piece)]
        on.source.stream.resume_reading()
        await on.delivers(data)
        assert len(on.moved) > 1


# The pipe


async def test_where_the_kernel_cannot_move_bytes_the_owner_reads_from_then_on() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, bytes(90_000))
        # The event is on its way; a file that cannot be spliced takes the place of the socket.
        kept = os.dup(on.source.fd)
        event = os.eventfd(0, os.EFD_NONBLOCK)
        os.dup2(event, on.source.fd)
        os.close(event)
        await on.source.lost()
        os.close(kept)
        assert isinstance(on.source.error, OSError)
        assert on.source.error.errno == errno.ENOTSOCK, "it was not read"
        assert not streams.pipe.is_able
        assert not streams.pipe.is_open()
        another = await streams.transfer()
        arrive(another.source, bytes(90_000))
        await another.source.receives(bytes(90_000))
        assert not another.moved


async def test_without_a_descriptor_for_the_pipe_the_owner_reads_for_now() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        arrive(on.source, bytes(90_000))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            await on.source.receives(bytes(90_000))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert streams.pipe.is_able
        assert not streams.pipe.is_open()
        on.start()
        arrive(on.source, bytes(90_000))
        await on.delivers(bytes(90_000))


async def test_a_pipe_that_is_not_wanted_moves_nothing() -> None:
    async with Spliced(is_wanted=False) as streams:
        on = await streams.transfer()
        arrive(on.source, bytes(90_000))
        await on.source.receives(bytes(90_000))
        assert not streams.pipe.is_open()
        assert len(streams.pipe.limited_buffer) == LIMITED_SIZE


async def test_streams_of_another_kind_are_left_alone() -> None:
    async with Spliced() as streams:
        owner = await streams.open()
        for source, sink in [(owner.stream, stream_of(None)), (stream_of(None), owner.stream)]:
            streams.pipe.start(source, sink, None, lambda _count: None)
        assert owner.stream.get_protocol() is owner


async def test_a_pipe_is_closed_once_and_opened_again_when_it_is_needed() -> None:
    async with Spliced() as streams:
        on = await streams.transfer()
        for _ in range(2):
            on.sink.wire.received.clear()
            arrive(on.source, bytes(90_000))
            await on.delivers(bytes(90_000))
            assert streams.pipe.is_open()
            streams.pipe.close()
            streams.pipe.close()
            assert not streams.pipe.is_open()
