"""Accepting from one socket, both ways: with the loop's own server, and by reading the socket."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cmux_proxy.config.address import Address
from cmux_proxy.net import acceptor as module
from cmux_proxy.net.acceptor import (
    AcceptedConnections,
    Acceptor,
    ReaderAcceptor,
    ServerAcceptor,
    acceptor,
)
from cmux_proxy.server.binding import bind
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire

every_kind = pytest.mark.parametrize("kind", [ReaderAcceptor, ServerAcceptor])


class Accepted:
    """Makes protocols that close at once; `peers` are who was accepted."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def __call__(self) -> asyncio.Protocol:
        accepted = self

        class Once(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.peers.put_nowait(transport.get_extra_info("peername"))
                transport.close()

        return Once()


@contextlib.contextmanager
def bound() -> Iterator[socket.socket]:
    (sock,) = bind([Address("127.0.0.1", 0)])
    with sock:
        yield sock


def arrivals(accepted: Accepted) -> AcceptedConnections:
    return AcceptedConnections(asyncio.get_running_loop(), accepted, lambda _coming: True)


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def visit(sock: socket.socket) -> tuple[str, int]:
    """Connect until accepted and closed; return our own address."""
    with await Wire.to(*sock.getsockname()) as wire:
        own: tuple[str, int] = wire.sock.getsockname()
        assert await soon(wire.receive()) == b""
        return own


@pytest.mark.parametrize("bursts", [True, False])
async def test_each_loop_accepts_in_the_way_that_suits_it(loop_name: str, bursts: bool) -> None:
    with bound() as sock:
        each = acceptor(arrivals(Accepted()), sock, bursts)
    kind = ServerAcceptor if loop_name == "uvloop" and bursts else ReaderAcceptor
    assert type(each) is kind


async def test_unix_sockets_are_read_on_each_loop(tmp_path: Path) -> None:
    (sock,) = bind([Address("", 0, str(tmp_path / "s"))])
    with sock:
        assert type(acceptor(arrivals(Accepted()), sock, True)) is ReaderAcceptor


@every_kind
async def test_connections_are_accepted_from_the_start_to_the_stop(
    kind: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock:
        each: Acceptor = kind(arrivals(accepted), sock)
        await each.start()
        await each.start()
        for _ in range(3):
            assert await visit(sock) == await soon(accepted.peers.get())
        each.stop()
        each.stop()
        with await Wire.to(*sock.getsockname()):
            await turns()
            assert accepted.peers.empty()


@every_kind
async def test_a_connection_made_while_stopped_waits_and_is_accepted_later(
    kind: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock:
        each: Acceptor = kind(arrivals(accepted), sock)
        await each.start()
        each.stop()
        with await Wire.to(*sock.getsockname()) as wire:
            await turns()
            assert accepted.peers.empty()
            await each.start()
            assert await soon(accepted.peers.get()) == wire.sock.getsockname()
        each.stop()


@every_kind
async def test_many_that_wait_are_accepted_all(
    kind: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock, contextlib.ExitStack() as stack:
        each: Acceptor = kind(arrivals(accepted), sock)
        wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(50)]
        await each.start()
        peers = {await soon(accepted.peers.get()) for _ in wires}
        assert peers == {wire.sock.getsockname() for wire in wires}
        each.stop()


@every_kind
async def test_the_finish_accepts_who_has_connected_by_then_and_nobody_else(
    kind: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock, contextlib.ExitStack() as stack:
        each: Acceptor = kind(arrivals(accepted), sock)
        await each.start()
        each.stop()
        wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(50)]
        each.finish()
        late = stack.enter_context(await Wire.to(*sock.getsockname()))
        peers = {await soon(accepted.peers.get()) for _ in wires}
        assert peers == {wire.sock.getsockname() for wire in wires}
        await turns()
        assert accepted.peers.empty()
        each.finish()
        assert await soon(accepted.peers.get()) == late.sock.getsockname()


class Sock:
    """A bound socket that fails as told first; `asked` counts the attempts to accept."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self._errors = list(errors)
        self.asked = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if self._errors:
            raise self._errors.pop()
        return self._sock.accept()


def reader(sock: Sock, accepted: Accepted) -> ReaderAcceptor:
    return ReaderAcceptor(arrivals(accepted), cast(socket.socket, sock))


async def test_a_reader_takes_a_few_at_a_time() -> None:
    accepted = Accepted()
    with bound() as real, contextlib.ExitStack() as stack:
        sock = Sock(real)
        each = reader(sock, accepted)
        for _ in range(50):
            stack.enter_context(await Wire.to(*real.getsockname()))
        await each.start()
        for _ in range(50):
            before = sock.asked
            await asyncio.sleep(0)
            assert sock.asked - before <= 8
            if not accepted.peers.empty():
                break
        each.stop()
        await turns()
        assert 0 < accepted.peers.qsize() < 50


@pytest.mark.parametrize("kind", [BlockingIOError, InterruptedError, ConnectionAbortedError])
async def test_a_connection_that_is_gone_again_is_passed_over(kind: type[OSError]) -> None:
    accepted = Accepted()
    with bound() as real:
        each = reader(Sock(real, kind()), accepted)
        await each.start()
        assert await visit(real) == await soon(accepted.peers.get())
        each.stop()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_reader_without_resources_pauses_and_tries_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_AFTER", 1 * MS)
    accepted = Accepted()
    with bound() as real:
        sock = Sock(real, OSError(number, ""), OSError(number, ""))
        each = reader(sock, accepted)
        await each.start()
        assert await visit(real) == await soon(accepted.peers.get())
        # Two failures, the connection, and the attempt that finds no other.
        assert sock.asked == 4
        each.stop()


async def test_a_reader_that_waits_for_resources_does_not_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_RETRY_AFTER", 3600.0)
    with bound() as real:
        sock = Sock(real, OSError(errno.EMFILE, ""))
        each = reader(sock, Accepted())
        await each.start()
        with await Wire.to(*real.getsockname()):
            await turns(100)
        assert sock.asked == 1
        each.stop()


async def test_a_stop_calls_a_readers_next_attempt_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_AFTER", 1 * MS)
    with bound() as real:
        sock = Sock(real, OSError(errno.EMFILE, ""))
        each = reader(sock, Accepted())
        await each.start()
        with await Wire.to(*real.getsockname()):
            while not sock.asked:
                await turns(1)
            each.stop()
            passed = asyncio.Event()
            asyncio.get_running_loop().call_later(2 * MS, passed.set)
            await soon(passed.wait())
            assert sock.asked == 1


class Servers:
    """The running loop; making a server meets with what the test says."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    async def create_server(self, factory: Any, **options: Any) -> asyncio.AbstractServer:
        self._happens()
        return await asyncio.get_running_loop().create_server(factory, **options)


def server(happens: Callable[[], None], sock: socket.socket, accepted: Accepted) -> ServerAcceptor:
    loop = cast(asyncio.AbstractEventLoop, Servers(happens))
    return ServerAcceptor(AcceptedConnections(loop, accepted, lambda _coming: True), sock)


async def test_a_server_that_cannot_be_made_says_so_and_may_be_started_again() -> None:
    def fails() -> None:
        each._arrivals.loop = asyncio.get_running_loop()
        raise OSError(errno.EMFILE, "")

    accepted = Accepted()
    with bound() as sock:
        each = server(fails, sock, accepted)
        with pytest.raises(OSError, match="Errno 24"):
            await each.start()
        await each.start()
        assert await visit(sock) == await soon(accepted.peers.get())
        each.stop()


async def test_a_stop_overtakes_a_server_that_is_being_made() -> None:
    accepted = Accepted()
    with bound() as sock:
        each = server(lambda: each.stop(), sock, accepted)
        await each.start()
        with await Wire.to(*sock.getsockname()):
            await turns()
            assert accepted.peers.empty()
