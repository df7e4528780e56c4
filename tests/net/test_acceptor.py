"""Accepting from one socket: with the loop's own server, and by reading the socket."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cmux_proxy.config.address import Address
from cmux_proxy.net.acceptor import (
    AcceptedConnections,
    Acceptor,
    ReaderAcceptor,
    ServerAcceptor,
    make_acceptor,
)
from cmux_proxy.net.stream import Loop
from cmux_proxy.server.binding import bind
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire

every_acceptor = pytest.mark.parametrize("make", [ReaderAcceptor, ServerAcceptor])


class Accepted:
    """Makes owners that close at once; `peers` are the addresses of the accepted clients."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def __call__(self) -> asyncio.Protocol:
        return Closing(self.peers)


class Closing(asyncio.Protocol):
    """Closes its connection at once."""

    def __init__(self, peers: "asyncio.Queue[tuple[str, int]]") -> None:
        self._peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peers.put_nowait(transport.get_extra_info("peername"))
        transport.close()


@contextlib.contextmanager
def bound() -> Iterator[socket.socket]:
    (sock,) = bind([Address("127.0.0.1", 0)])
    with sock:
        yield sock


def connections(accepted: Accepted) -> AcceptedConnections:
    return AcceptedConnections(asyncio.get_running_loop(), accepted, lambda _pending: True)


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def visit(sock: socket.socket) -> tuple[str, int]:
    """Connect until accepted and closed; return our own address."""
    with await Wire.to(*sock.getsockname()) as wire:
        own: tuple[str, int] = wire.sock.getsockname()
        assert await soon(wire.receive()) == b""
        return own


@pytest.mark.parametrize("accepts_bursts", [True, False])
async def test_each_loop_has_the_acceptor_that_suits_it(
    loop_name: str, accepts_bursts: bool
) -> None:
    with bound() as sock:
        acceptor = make_acceptor(connections(Accepted()), sock, accepts_bursts)
    make = ServerAcceptor if "uvloop" in loop_name and accepts_bursts else ReaderAcceptor
    assert type(acceptor) is make


async def test_unix_sockets_are_read_on_each_loop(tmp_path: Path) -> None:
    (sock,) = bind([Address("", 0, str(tmp_path / "s"))])
    with sock:
        assert type(make_acceptor(connections(Accepted()), sock, True)) is ReaderAcceptor


@every_acceptor
async def test_connections_are_accepted_from_the_start_to_the_stop(
    make: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock:
        acceptor: Acceptor = make(connections(accepted), sock)
        await acceptor.start()
        await acceptor.start()
        for _ in range(3):
            assert await visit(sock) == await soon(accepted.peers.get())
        acceptor.stop()
        acceptor.stop()
        with await Wire.to(*sock.getsockname()):
            await turns()
            assert accepted.peers.empty()


@every_acceptor
async def test_a_connection_made_while_stopped_waits_and_is_accepted_later(
    make: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock:
        acceptor: Acceptor = make(connections(accepted), sock)
        await acceptor.start()
        acceptor.stop()
        with await Wire.to(*sock.getsockname()) as wire:
            await turns()
            assert accepted.peers.empty()
            await acceptor.start()
            assert await soon(accepted.peers.get()) == wire.sock.getsockname()
        acceptor.stop()


@every_acceptor
async def test_all_connections_of_a_backlog_are_accepted(
    make: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock, contextlib.ExitStack() as stack:
        acceptor: Acceptor = make(connections(accepted), sock)
        wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(50)]
        await acceptor.start()
        peers = {await soon(accepted.peers.get()) for _ in wires}
        assert peers == {wire.sock.getsockname() for wire in wires}
        acceptor.stop()


@every_acceptor
async def test_the_finish_accepts_the_connections_of_the_backlog_and_no_others(
    make: type[ReaderAcceptor] | type[ServerAcceptor],
) -> None:
    accepted = Accepted()
    with bound() as sock, contextlib.ExitStack() as stack:
        acceptor: Acceptor = make(connections(accepted), sock)
        await acceptor.start()
        acceptor.stop()
        wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(50)]
        acceptor.finish()
        late = stack.enter_context(await Wire.to(*sock.getsockname()))
        peers = {await soon(accepted.peers.get()) for _ in wires}
        assert peers == {wire.sock.getsockname() for wire in wires}
        await turns()
        assert accepted.peers.empty()
        acceptor.finish()
        assert await soon(accepted.peers.get()) == late.sock.getsockname()


class Sock:
    """A listening socket that fails first; `attempts` counts the calls of `accept`."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self._errors = list(errors)
        self.attempts = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        self.attempts += 1
        if self._errors:
            raise self._errors.pop()
        return self._sock.accept()


def reader(sock: Sock, accepted: Accepted, retry_delay: float = 3600.0) -> ReaderAcceptor:
    return ReaderAcceptor(connections(accepted), cast(socket.socket, sock), retry_delay)


async def test_a_reader_accepts_a_few_at_a_time() -> None:
    accepted = Accepted()
    with bound() as real, contextlib.ExitStack() as stack:
        sock = Sock(real)
        acceptor = reader(sock, accepted)
        for _ in range(50):
            stack.enter_context(await Wire.to(*real.getsockname()))
        await acceptor.start()
        for _ in range(50):
            before = sock.attempts
            await asyncio.sleep(0)
            assert sock.attempts - before <= 8
            if not accepted.peers.empty():
                break
        acceptor.stop()
        await turns()
        assert 0 < accepted.peers.qsize() < 50


@pytest.mark.parametrize("make", [BlockingIOError, InterruptedError, ConnectionAbortedError])
async def test_a_connection_that_is_gone_already_is_skipped(make: type[OSError]) -> None:
    accepted = Accepted()
    with bound() as real:
        acceptor = reader(Sock(real, make()), accepted)
        await acceptor.start()
        assert await visit(real) == await soon(accepted.peers.get())
        acceptor.stop()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_reader_without_resources_pauses_and_tries_again(number: int) -> None:
    accepted = Accepted()
    with bound() as real:
        sock = Sock(real, OSError(number, ""), OSError(number, ""))
        acceptor = reader(sock, accepted, 1 * MS)
        await acceptor.start()
        assert await visit(real) == await soon(accepted.peers.get())
        # Two failures, the connection, and the attempt that finds no other.
        assert sock.attempts == 4
        acceptor.stop()


async def test_a_reader_that_waits_for_resources_does_not_spin() -> None:
    with bound() as real:
        sock = Sock(real, OSError(errno.EMFILE, ""))
        acceptor = reader(sock, Accepted())
        await acceptor.start()
        with await Wire.to(*real.getsockname()):
            await turns(100)
        assert sock.attempts == 1
        acceptor.stop()


async def test_a_stop_cancels_the_next_attempt_of_a_reader() -> None:
    with bound() as real:
        sock = Sock(real, OSError(errno.EMFILE, ""))
        acceptor = reader(sock, Accepted(), 1 * MS)
        await acceptor.start()
        with await Wire.to(*real.getsockname()):
            while not sock.attempts:
                await turns(1)
            acceptor.stop()
            passed = asyncio.Event()
            asyncio.get_running_loop().call_later(2 * MS, passed.set)
            await soon(passed.wait())
            assert sock.attempts == 1


class Servers:
    """The running loop; calls a function before it makes a server."""

    def __init__(self, before: Callable[[], None]) -> None:
        self.before = before

    async def create_server(self, factory: Any, **options: Any) -> asyncio.AbstractServer:
        self.before()
        return await asyncio.get_running_loop().create_server(factory, **options)


def server(loop: Servers, sock: socket.socket, accepted: Accepted) -> ServerAcceptor:
    made = AcceptedConnections(cast(Loop, loop), accepted, lambda _pending: True)
    return ServerAcceptor(made, sock)


async def test_a_server_that_cannot_be_made_raises_and_may_be_started_again() -> None:
    def fail() -> None:
        loop.before = lambda: None
        raise OSError(errno.EMFILE, "")

    accepted = Accepted()
    with bound() as sock:
        loop = Servers(fail)
        acceptor = server(loop, sock, accepted)
        with pytest.raises(OSError, match="Errno 24"):
            await acceptor.start()
        await acceptor.start()
        assert await visit(sock) == await soon(accepted.peers.get())
        acceptor.stop()


async def test_a_stop_while_a_server_is_made_closes_it() -> None:
    accepted = Accepted()
    with bound() as sock:
        acceptor = server(Servers(lambda: acceptor.stop()), sock, accepted)
        await acceptor.start()
        with await Wire.to(*sock.getsockname()):
            await turns()
            assert accepted.peers.empty()
