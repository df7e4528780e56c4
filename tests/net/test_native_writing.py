"""What a native stream sends: at once, from its queue, in parts, and before its end."""

import contextlib
import errno
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from tests.helpers.buffers import releasing
from tests.helpers.native import (
    HOSTINGS,
    Recorder,
    Streams,
    arrive,
    arrive_end,
    arrive_reset,
    turns,
    watched_events,
)
from tests.helpers.timing import soon

__all__ = ["HOSTINGS"]

every_family = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])

EPOLLOUT = 4
# More than the kernel holds with `SMALL` buffers.
LARGE = 1_000_000
SMALL = 4096


def fill(owner: Recorder) -> bytes:
    """Write until something waits; return what was written."""
    written = b""
    while not owner.stream.get_write_buffer_size():
        piece = os.urandom(10_000)
        owner.stream.write(piece)
        written += piece
    return written


async def receive(owner: Recorder, count: int) -> bytes:
    """Return the next `count` bytes that the peer receives."""
    pieces = []
    while count:
        piece = await soon(owner.wire.receive(min(count, 65536)))
        assert piece
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


@every_family
async def test_every_byte_of_a_large_write_arrives_in_order(family: int) -> None:
    data = os.urandom(LARGE)
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.write(data)
        assert 0 < owner.stream.get_write_buffer_size() < LARGE
        assert owner.calls == ["connection_made", "pause_writing"]
        owner.stream.write(b"and some more")
        assert await receive(owner, LARGE) == data
        assert await receive(owner, 13) == b"and some more"
        await owner.until(lambda: "resume_writing" in owner.calls)
        assert owner.calls == ["connection_made", "pause_writing", "resume_writing"]
        assert owner.stream.get_write_buffer_size() == 0


@every_family
async def test_bytes_of_any_sizes_and_kinds_arrive_in_order(family: int) -> None:
    source = random.Random(family)
    kinds: list[Callable[[bytes], Any]] = [bytes, bytearray, memoryview]
    expected = b""
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        for _ in range(200):
            pieces = [
                source.choice(kinds)(source.randbytes(source.choice([0, 1, 100, 5000, 70_000])))
                for _ in range(source.choice([0, 1, 1, 2, 2, 2, 3]))
            ]
            expected += b"".join(pieces)
            if len(pieces) == 1:
                owner.stream.write(pieces[0])
            else:
                owner.stream.writelines(pieces)
            if source.random() < 0.3 and owner.stream.get_write_buffer_size():
                await receive_some(owner)
        await receive_until(owner, len(expected))
        assert owner.wire.received == expected


async def receive_some(owner: Recorder) -> None:
    assert await soon(owner.wire.receive())


async def receive_until(owner: Recorder, count: int) -> None:
    while len(owner.wire.received) < count:
        await receive_some(owner)


@every_family
@pytest.mark.parametrize("first", [0, 1, 500_000, LARGE - 1, LARGE])
async def test_two_parts_arrive_in_order_wherever_the_kernel_cuts_them(
    family: int, first: int
) -> None:
    data = os.urandom(LARGE)
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.writelines([data[:first], memoryview(data)[first:]])
        waiting = owner.stream.get_write_buffer_size()
        assert 0 < waiting < LARGE
        owner.stream.writelines([b"then", b"these"])
        assert owner.stream.get_write_buffer_size() == waiting + 9
        assert await receive(owner, LARGE) == data
        assert await receive(owner, 9) == b"thenthese"


@every_family
@pytest.mark.parametrize("parts", [1, 2, 3])
async def test_bytes_that_wait_are_those_of_the_time_of_the_call(family: int, parts: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        data = os.urandom(LARGE)
        pieces = [bytearray(data) for _ in range(parts)]
        if parts == 1:
            owner.stream.write(pieces[0])
        else:
            owner.stream.writelines(pieces)
        for piece in pieces:
            piece[:] = b"changed"
        for _ in range(parts):
            assert await receive(owner, LARGE) == data


async def test_a_write_without_room_waits_as_a_whole() -> None:
    async with Streams() as streams:
        owner = await streams.open(buffer=SMALL)
        data = fill(owner)
        await turns()
        # The kernel has no room now.
        waiting = owner.stream.get_write_buffer_size()
        owner.stream.write(memoryview(b"one"))
        owner.stream.writelines((b"two", bytearray(b"three")))
        assert owner.stream.get_write_buffer_size() == waiting + 11
        assert await receive(owner, len(data) + 11) == data + b"onetwothree"


@pytest.mark.parametrize("parts", [1, 2])
async def test_a_first_write_without_room_waits_as_a_whole(parts: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=socket.AF_UNIX)
        # Bytes of others in the same socket: the stream itself knows of none.
        sock = owner.stream.get_extra_info("socket")
        others = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                others += sock.send(bytes(1000))
        if parts == 1:
            owner.stream.write(b"onetwo")
        else:
            owner.stream.writelines([b"one", b"two"])
        assert owner.stream.get_write_buffer_size() == 6
        assert not owner.stream.is_closing()
        assert (await receive(owner, others + 6))[others:] == b"onetwo"


def fail_a_call() -> None:
    """Set errno to the error of another system call."""
    with contextlib.suppress(OSError):
        os.close(-1)


async def test_the_error_of_a_write_survives_the_release_of_its_buffers() -> None:
    async with Streams() as streams:
        owner = await streams.open(family=socket.AF_UNIX)
        sock = owner.stream.get_extra_info("socket")
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(1000))
        owner.stream.writelines([releasing(data, fail_a_call) for data in (b"one", b"two")])
        # It waits for room, which is no error.
        assert owner.stream.get_write_buffer_size() == 6
        assert not owner.stream.is_closing()


@every_family
async def test_the_end_is_sent_after_the_last_byte_that_waits(family: int) -> None:
    data = os.urandom(LARGE)
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.write(data)
        owner.stream.write_eof()
        owner.stream.write_eof()
        assert owner.stream.get_write_buffer_size()
        assert await soon(owner.wire.receive_all()) == data
        assert not owner.stream.is_closing()
        # The other half is still open.
        await owner.wire.send(b"thanks")
        await owner.receives(b"thanks")


@every_family
async def test_a_close_sends_what_waits_and_reports_the_loss_then(family: int) -> None:
    data = os.urandom(LARGE)
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.write(data)
        owner.stream.close()
        owner.stream.close()
        assert owner.stream.is_closing()
        arrive(owner, b"nobody reads this any more")
        await turns()
        assert not owner.is_lost
        assert await receive(owner, LARGE) == data
        await owner.lost()
        assert owner.error is None
        assert not owner.received


@every_family
async def test_an_abort_discards_what_waits(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        data = fill(owner)
        waiting = owner.stream.get_write_buffer_size()
        owner.stream.abort()
        assert owner.stream.get_write_buffer_size() == 0
        await owner.lost()
        assert owner.error is None
        assert "resume_writing" not in owner.calls
        assert await soon(owner.wire.receive_all()) == data[:-waiting]


@every_family
async def test_nothing_is_written_after_the_end(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family)
        owner.stream.write_eof()
        with pytest.raises(RuntimeError, match="write after write_eof"):
            owner.stream.write(b"late")
        with pytest.raises(RuntimeError, match="write after write_eof"):
            owner.stream.writelines([b"too", b"late"])
        assert await soon(owner.wire.receive_all()) == b""


@every_family
async def test_an_end_that_was_sent_while_resuming_is_sent_once(family: int) -> None:
    # With both halves ended, a second shutdown(2) would fail, and drop the connection.
    async with Streams() as streams:
        owner = await streams.open(Recorder(stays_open=True), family, SMALL)
        arrive_end(owner)
        await owner.until(lambda: "eof_received" in owner.calls)
        owner.stream.set_write_buffer_limits(high=0)
        owner.on["resume_writing"] = owner.stream.write_eof
        data = fill(owner)
        assert await soon(owner.wire.receive_all()) == data
        await turns()
        assert not owner.is_lost
        owner.stream.close()
        await owner.lost()
        assert owner.error is None


@every_family
async def test_bytes_written_while_resuming_are_sent_before_the_end(family: int) -> None:
    def write_more() -> None:
        del owner.on["resume_writing"]
        owner.stream.write(more)
        owner.stream.write_eof()

    more = os.urandom(LARGE)
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.set_write_buffer_limits(high=0)
        owner.on["resume_writing"] = write_more
        data = fill(owner)
        assert await soon(owner.wire.receive_all()) == data + more
        pauses = [call for call in owner.calls if call.endswith("writing")]
        assert pauses == ["pause_writing", "resume_writing"] * 2


@pytest.mark.parametrize(("high", "waits"), [(0, 1), (5000, 5001), (None, 65537)])
async def test_the_owner_pauses_with_the_byte_above_the_limit(high: int | None, waits: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=socket.AF_UNIX)
        owner.stream.set_write_buffer_limits(high=1 << 30)
        fill(owner)
        assert owner.calls == ["connection_made"]
        owner.stream.set_write_buffer_limits(high=high)
        missing = waits - owner.stream.get_write_buffer_size()
        if missing > 1:
            owner.stream.write(bytes(missing - 1))
            assert owner.calls == ["connection_made"]
        owner.stream.write(b"x")
        # Within the call, so that the writer stops at once.
        assert owner.calls == ["connection_made", "pause_writing"]
        owner.stream.write(b"x")
        assert owner.calls == ["connection_made", "pause_writing"]


@every_family
async def test_room_is_waited_for_only_where_something_waits(family: int) -> None:
    async with Streams() as streams:
        owner = await streams.open(family=family, buffer=SMALL)
        owner.stream.write(b"short")
        assert not (watched_events(owner.fd) or 0) & EPOLLOUT
        data = b"short" + fill(owner)
        assert (watched_events(owner.fd) or 0) & EPOLLOUT
        assert await receive(owner, len(data)) == data
        await owner.until(lambda: not owner.stream.get_write_buffer_size())
        # The reader of a Unix socket would wake us with each byte.
        is_watched = (watched_events(owner.fd) or 0) & EPOLLOUT
        assert bool(is_watched) == (family == socket.AF_INET)
        data = fill(owner)
        assert await receive(owner, len(data)) == data


@pytest.mark.parametrize("parts", [1, 2])
async def test_a_write_to_a_peer_that_has_reset_is_lost_but_not_within_the_call(
    parts: int,
) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        arrive_reset(owner)
        if parts == 1:
            owner.stream.write(b"x")
        else:
            owner.stream.writelines([b"x", b"y"])
        assert owner.calls == ["connection_made"]
        assert owner.stream.is_closing()
        owner.stream.write(b"ignored")
        owner.stream.writelines([b"ignored", b"too"])
        await owner.lost()
        assert isinstance(owner.error, (ConnectionResetError, BrokenPipeError))


@pytest.mark.parametrize("is_queued", [False, True])
async def test_a_write_error_leaves_what_is_unread_to_the_owner(is_queued: bool) -> None:
    def read_rest() -> None:
        rest.append(owner.stream.get_extra_info("socket").recv(100))

    rest: list[bytes] = []
    async with Streams() as streams:
        owner = await streams.open(buffer=SMALL)
        owner.stream.pause_reading()
        owner.on["connection_lost"] = read_rest
        if is_queued:
            fill(owner)
        arrive(owner, b"last words")
        arrive_reset(owner)
        if not is_queued:
            owner.stream.write(b"x")
        await owner.lost()
        assert isinstance(owner.error, OSError)
        assert rest == [b"last words"]


async def test_a_reset_while_closing_with_bytes_that_wait_is_the_loss() -> None:
    async with Streams() as streams:
        owner = await streams.open(buffer=SMALL)
        fill(owner)
        owner.stream.close()
        await turns()
        arrive_reset(owner)
        await owner.lost()
        assert isinstance(owner.error, OSError)


async def test_an_end_of_ours_after_a_reset_raises() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        arrive_reset(owner)
        with pytest.raises(OSError, match=f"Errno {errno.ENOTCONN}"):
            owner.stream.write_eof()
        await owner.lost()
        assert isinstance(owner.error, ConnectionResetError)


async def test_what_is_no_bytes_is_refused_and_changes_nothing() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        buffer = bytearray(b"free")
        with pytest.raises(TypeError):
            owner.stream.write("text")
        for pieces in (["text", buffer], [buffer, "text"]):
            with pytest.raises(TypeError):
                owner.stream.writelines(pieces)
            # It could not grow if the stream still held it.
            buffer += b"!"
        owner.stream.write(b"bytes")
        assert await soon(owner.wire.receive()) == b"bytes"
