"""The pipe that moves bytes within the kernel, and when a connection uses it."""

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from cmux_proxy.net.asyncio_backend import may_splice
from cmux_proxy.net.socket_queues import send_room
from cmux_proxy.net.splice import (
    LARGE_READ,
    LIMITED_SIZE,
    MAX_MOVE,
    MIN_LEFT,
    MIN_MOVE,
    MIN_READ,
    PROBE_SIZE,
    LimitedReads,
    SplicePipe,
    SpliceTransfer,
    is_full,
    limit_reads,
    start_transfer,
)
from tests.helpers.fakes import FakeStream, World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice is Linux's")


@contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a TCP connection, neither of which waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    with far, near:
        far.setblocking(False)
        near.setblocking(False)
        yield far, near


@contextmanager
def opened() -> Iterator[SplicePipe]:
    """Return a pipe that is closed in the end."""
    with closing(SplicePipe()) as made:
        yield made


def arrived(sock: socket.socket, count: int) -> bytes:
    """Return so many bytes that have come, or will at once."""
    sock.setblocking(True)
    sock.settimeout(5)
    data = sock.recv(count, socket.MSG_WAITALL)
    sock.setblocking(False)
    return data


def fill(sock: socket.socket) -> None:
    """Send until there is no room."""
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def await_bytes(sock: socket.socket) -> None:
    """Wait until something can be read."""
    sock.setblocking(True)
    sock.settimeout(5)
    sock.recv(1, socket.MSG_PEEK)
    sock.setblocking(False)


def test_bytes_are_moved_up_to_a_number() -> None:
    with opened() as pipe, sockets() as (far, source), sockets() as (sink, reader):
        far.send(b"0123456789")
        await_bytes(source)
        assert pipe.move(source.fileno(), sink.fileno(), 7) == (7, b"")
        assert arrived(reader, 7) == b"0123456"
        assert pipe.move(source.fileno(), sink.fileno(), 7) == (3, b"")
        assert arrived(reader, 3) == b"789"


def test_nothing_is_moved_before_bytes_or_after_the_end() -> None:
    with opened() as pipe, sockets() as (far, source), sockets() as (sink, _):
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (0, b"")
        far.shutdown(socket.SHUT_WR)
        await_bytes(source)
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (0, b"")
        assert source.recv(1) == b""


def test_bytes_that_the_sink_does_not_take_are_returned() -> None:
    with opened() as pipe, sockets() as (far, source), sockets() as (sink, _):
        fill(sink)
        far.send(b"0123456789")
        await_bytes(source)
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (10, b"0123456789")


def test_the_reset_of_the_source_is_raised_and_that_of_the_sink_is_left_to_writing() -> None:
    with opened() as pipe, sockets() as (far, source), sockets() as (sink, reader):
        far.send(b"last")
        await_bytes(source)
        reset(reader)
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (4, b"last")
        reset(far)
        with pytest.raises(ConnectionResetError):
            pipe.move(source.fileno(), sink.fileno(), MAX_MOVE)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES])
def test_where_the_kernel_cannot_nothing_is_lost_and_it_is_not_tried_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refuse(*args: object, **options: object) -> int:
        calls.append(args)
        raise OSError(number, "not this kernel")

    monkeypatch.setattr(os, "splice", refuse)
    with opened() as pipe, sockets() as (far, source), sockets() as (sink, _):
        far.send(b"here")
        await_bytes(source)
        for _ in range(2):
            assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (0, b"")
        assert not pipe.is_able
        assert source.recv(4) == b"here"
    assert len(calls) == 1


def test_without_a_descriptor_for_the_pipe_nothing_is_moved_for_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many")

    with opened() as pipe, sockets() as (far, source), sockets() as (sink, reader):
        far.send(b"here")
        await_bytes(source)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pipe2", refuse)
            assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (0, b"")
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (4, b"")
        assert arrived(reader, 4) == b"here"


def test_bytes_that_are_left_in_the_pipe_reach_no_other_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_fd: int, _count: int) -> bytes:
        raise MemoryError

    with opened() as pipe, sockets() as (far, source), sockets() as (sink, reader):
        far.send(b"secret")
        await_bytes(source)
        with sockets() as (full, _), monkeypatch.context() as patch:
            fill(full)
            patch.setattr(os, "read", fail)
            with pytest.raises(MemoryError):
                pipe.move(source.fileno(), full.fileno(), MAX_MOVE)
        far.send(b"public")
        await_bytes(source)
        assert pipe.move(source.fileno(), sink.fileno(), MAX_MOVE) == (6, b"")
        assert arrived(reader, 6) == b"public"


# One connection, without sockets


class Pretended(SplicePipe):
    """Takes as many bytes as the test says, and hands some back."""

    def __init__(self, taken: int, untaken: bytes = b"") -> None:
        super().__init__()
        self.taken = taken
        self.untaken = untaken
        self.requested: list[int] = []

    def move(self, source: int, sink: int, max_bytes: int) -> tuple[int, bytes]:
        """Record how much was requested."""
        self.requested.append(max_bytes)
        return min(self.taken, max_bytes), self.untaken


class Length:
    """A body of a known length."""

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining


class Owner:
    """Keeps what arrives, and counts what bypasses it."""

    def __init__(self) -> None:
        self.got = b""
        self.moved = 0
        self.on_data: Callable[[], object] = lambda: None

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.got += data
        self.on_data()

    def eof_received(self) -> bool | None:
        """Let the stream close."""
        return False

    def connection_lost(self, error: Exception | None, /) -> None:
        """Ignore it."""

    def pause_writing(self) -> None:
        """Ignore it."""

    def resume_writing(self) -> None:
        """Ignore it."""

    def count_moved(self, count: int) -> None:
        """Count it."""
        self.moved += count


class Open(FakeStream):
    """A stream with a descriptor."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "open")
        self.socket.fileno = lambda: 7  # type: ignore[method-assign]


def transfer(
    taken: int, untaken: bytes = b"", body: Length | None = None
) -> tuple[SpliceTransfer, Owner, Open, Open, Pretended]:
    """Return a large transfer under way, and what is around it."""
    world = World()
    source, sink, owner, pipe = Open(world), Open(world), Owner(), Pretended(taken, untaken)
    sink.set_protocol(Owner())
    sink.set_write_buffer_limits(0)
    source.set_protocol(owner)
    made = SpliceTransfer(pipe, source, sink, body, owner.count_moved)
    made.attach(source)
    return made, owner, source, sink, pipe


def read(to: SpliceTransfer, data: bytes) -> None:
    """Have the loop read this."""
    to.get_buffer(-1)[: len(data)] = data
    to.buffer_updated(len(data))


def test_the_first_bytes_go_to_the_owner_and_the_rest_through_the_pipe() -> None:
    made, owner, source, sink, pipe = transfer(MAX_MOVE)
    read(made, b"x" * PROBE_SIZE)
    assert owner.got == b"x" * PROBE_SIZE
    assert pipe.requested == [MAX_MOVE]
    assert owner.moved == MAX_MOVE
    assert not sink.held
    assert source.get_protocol() is made


def test_returned_bytes_are_written_and_stay_within_the_limit() -> None:
    made, _, _, sink, pipe = transfer(MAX_MOVE, b"y" * MAX_MOVE)
    sink.stops_reading()
    read(made, b"x" * PROBE_SIZE)
    assert sink.held == b"y" * MAX_MOVE
    read(made, b"x" * PROBE_SIZE)
    assert pipe.requested == [MAX_MOVE], "what waits was overtaken"
    assert len(sink.held) + PROBE_SIZE <= 256 * 1024


@pytest.mark.parametrize(
    ("taken", "count"),
    [
        pytest.param(MAX_MOVE, PROBE_SIZE - 1, id="a short read"),
        pytest.param(MIN_MOVE - 1, PROBE_SIZE, id="little to move"),
    ],
)
def test_when_little_comes_the_owner_reads_again(taken: int, count: int) -> None:
    made, owner, source, _, _ = transfer(taken)
    read(made, b"x" * count)
    assert owner.got == b"x" * count
    assert source.get_protocol() is owner


def test_the_last_byte_of_a_body_is_never_moved() -> None:
    body = Length(MIN_LEFT)
    made, owner, source, _, pipe = transfer(MAX_MOVE, body=body)

    def count() -> None:
        body.remaining = MIN_LEFT - len(owner.got) - moved()

    def moved() -> int:
        return sum(min(MAX_MOVE, most) for most in pipe.requested)

    owner.on_data = count
    while source.get_protocol() is made:
        read(made, b"x" * min(PROBE_SIZE, body.remaining))
    assert pipe.requested[0] == MAX_MOVE
    assert pipe.requested[-1] < MAX_MOVE
    assert body.remaining == 0
    assert len(owner.got) + moved() == MIN_LEFT
    assert source.get_protocol() is owner


@pytest.mark.parametrize("which", ["source", "sink"])
def test_nothing_is_moved_once_a_side_closes(which: str) -> None:
    made, owner, source, sink, pipe = transfer(MAX_MOVE)
    owner.on_data = (source if which == "source" else sink).abort
    read(made, b"x" * PROBE_SIZE)
    assert not pipe.requested


def test_an_owner_that_takes_the_connection_over_keeps_it() -> None:
    made, owner, source, sink, _ = transfer(MAX_MOVE)
    other = Owner()

    def take_over() -> None:
        source.set_protocol(other)
        sink.abort()

    owner.on_data = take_over
    read(made, b"x" * PROBE_SIZE)
    assert source.get_protocol() is other


def test_the_owner_gets_all_other_events() -> None:
    heard: list[object] = []

    class Listening(Owner):
        def eof_received(self) -> bool:
            heard.append("end")
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            heard.append(exc)

        def pause_writing(self) -> None:
            heard.append("pause")

        def resume_writing(self) -> None:
            heard.append("resume")

    world = World()
    source = Open(world)
    source.set_protocol(Listening())
    made = SpliceTransfer(Pretended(0), source, Open(world), None, Owner().count_moved)
    made.pause_writing()
    made.resume_writing()
    assert made.eof_received()
    made.connection_lost(None)
    assert heard == ["pause", "resume", "end", None]


@pytest.mark.parametrize(
    ("body", "starts"),
    [
        pytest.param(None, True, id="no end"),
        pytest.param(Length(MIN_LEFT), True, id="long"),
        pytest.param(Length(MIN_LEFT - 1), False, id="short"),
    ],
)
def test_it_starts_where_enough_bytes_follow(body: Length | None, starts: bool) -> None:
    world = World()
    source = Open(world)
    source.set_protocol(Owner())
    start_transfer(SplicePipe(), source, Open(world), body, Owner().count_moved, LARGE_READ)
    assert isinstance(source.get_protocol(), SpliceTransfer) == starts


class Afar(Open):
    """A transport to some address, whose socket takes no options."""

    def __init__(self, world: World, address: str) -> None:
        super().__init__(world)
        self.address = address
        self.options = 0

        def refuse(level: int, name: int, value: bytes | int) -> None:
            self.options += 1
            raise OSError(errno.EPERM, "not allowed")

        self.socket.setsockopt = refuse  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return the address too."""
        return (self.address, 1) if name == "peername" else super().get_extra_info(name, default)


@pytest.mark.parametrize(
    ("address", "options"), [("127.0.0.1", 1), ("::1", 1), ("192.0.2.1", 0), ("2001:db8::1", 0)]
)
def test_pacing_is_disabled_on_the_loopback_only_and_a_refusal_does_no_harm(
    address: str, options: int
) -> None:
    world = World()
    source, sink = Open(world), Afar(world, address)
    source.set_protocol(Owner())
    start_transfer(SplicePipe(), source, sink, None, Owner().count_moved, LARGE_READ)
    assert sink.options == options
    assert isinstance(source.get_protocol(), SpliceTransfer)


def test_it_does_not_start_where_the_kernel_cannot_or_a_side_closes() -> None:
    world = World()
    source, sink, pipe = Open(world), Open(world), SplicePipe()
    owner = Owner()
    source.set_protocol(owner)
    pipe.is_able = False
    start_transfer(pipe, source, sink, None, owner.count_moved, LARGE_READ)
    pipe.is_able = True
    sink.abort()
    start_transfer(pipe, source, sink, None, owner.count_moved, LARGE_READ)
    start_transfer(pipe, source, FakeStream(world, "closed"), None, owner.count_moved, LARGE_READ)
    assert source.get_protocol() is owner
    assert not may_splice(sink)


# Towards a sink that is full


class Joined(FakeStream):
    """A transport with a real socket, in which the kernel keeps what its peer does not read."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        super().__init__(world, "joined")
        self.socket = sock  # type: ignore[assignment]


def test_a_sink_is_full_while_the_kernel_cannot_send_what_it_has() -> None:
    world = World()
    with sockets() as (ours, reader):
        sink = Joined(world, ours)
        assert not is_full(sink)
        room = send_room(sink)
        assert room > 0
        fill(ours)
        assert is_full(sink)
        assert send_room(sink) < room
        sink.close()
        assert not is_full(sink)
        reader.close()


def test_a_closed_sink_is_not_full_and_has_no_room() -> None:
    with sockets() as (ours, _reader):
        sink = Joined(World(), ours)
        ours.close()
        assert not is_full(sink)
        assert send_room(sink) == 0


def test_no_more_is_moved_than_a_full_sink_has_room_for() -> None:
    world = World()
    with opened() as pipe, sockets() as (far, source), sockets() as (ours, reader):
        fill(ours)
        fill(far)
        await_bytes(source)
        owner = Owner()
        feeding, sink = Joined(world, source), Joined(world, ours)
        feeding.set_protocol(owner)
        sink.set_protocol(Owner())
        sink.stops_reading()
        made = SpliceTransfer(pipe, feeding, sink, None, owner.count_moved)
        made.attach(feeding)
        read(made, bytes(PROBE_SIZE))
        assert 0 < owner.moved <= MIN_MOVE
        assert len(sink.held) <= MIN_MOVE
        assert feeding.get_protocol() is made
        reader.close()


@pytest.mark.parametrize(
    ("is_stuck", "count", "kind"),
    [
        (False, MIN_READ, Owner),
        (False, LARGE_READ, SpliceTransfer),
        (True, MIN_READ, SpliceTransfer),
        (True, LARGE_READ, SpliceTransfer),
    ],
)
def test_a_smaller_read_starts_a_transfer_if_the_sink_is_full(
    is_stuck: bool, count: int, kind: type
) -> None:
    world = World()
    with opened() as pipe, sockets() as (_far, source), sockets() as (ours, reader):
        if is_stuck:
            fill(ours)
        feeding = Joined(world, source)
        feeding.set_protocol(Owner())
        start_transfer(pipe, feeding, Joined(world, ours), None, Owner().count_moved, count)
        assert isinstance(feeding.get_protocol(), kind)
        reader.close()


def test_reads_are_limited_while_the_sink_is_full_and_the_kernel_cannot_move_them() -> None:
    world = World()
    with opened() as pipe, sockets() as (_far, source), sockets() as (ours, reader):
        owner = Owner()
        feeding, sink = Joined(world, source), Joined(world, ours)
        feeding.set_protocol(owner)
        limit_reads(pipe, feeding, sink)
        assert feeding.get_protocol() is owner
        fill(ours)
        limit_reads(pipe, feeding, sink)
        reads = feeding.get_protocol()
        assert isinstance(reads, LimitedReads)
        assert len(reads.get_buffer(-1)) == LIMITED_SIZE < MIN_READ
        reads.get_buffer(-1)[:5] = b"01234"
        reads.buffer_updated(5)
        assert owner.got == b"01234"
        assert feeding.get_protocol() is reads
        while is_full(sink):
            await_bytes(reader)
            reader.recv(1 << 20)
        reads.buffer_updated(2)
        assert owner.got == b"0123401"
        assert feeding.get_protocol() is owner


class Encrypted(Joined):
    """A stream of TLS, whose socket has the bytes encrypted."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a context too."""
        return self if name == "sslcontext" else super().get_extra_info(name, default)


def test_reads_are_limited_while_a_sink_of_tls_is_full() -> None:
    world = World()
    with opened() as pipe, sockets() as (_far, source), sockets() as (ours, _reader):
        owner = Owner()
        feeding, sink = Joined(world, source), Encrypted(world, ours)
        feeding.set_protocol(owner)
        start_transfer(pipe, feeding, sink, None, owner.count_moved, LARGE_READ)
        assert feeding.get_protocol() is owner
        fill(ours)
        start_transfer(pipe, feeding, sink, None, owner.count_moved, LARGE_READ)
        assert isinstance(feeding.get_protocol(), LimitedReads)


def test_bytes_of_tls_are_never_moved_nor_limited() -> None:
    world = World()
    with opened() as pipe, sockets() as (_far, source), sockets() as (ours, _reader):
        owner = Owner()
        feeding, sink = Encrypted(world, source), Joined(world, ours)
        feeding.set_protocol(owner)
        fill(ours)
        start_transfer(pipe, feeding, sink, None, owner.count_moved, LARGE_READ)
        assert feeding.get_protocol() is owner
