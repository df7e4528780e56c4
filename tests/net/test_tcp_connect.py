"""Connecting a socket: how it ends, and that no name server is needed for it."""

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from cmux_proxy.net.tcp_connect import ConnectTimeout, connect, connect_tuned
from tests.helpers.timing import MS, SOON, soon
from tests.helpers.wire import Wire, WireListener, closed_port, deaf_port


@contextlib.contextmanager
def unconnected(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setblocking(False)
        yield sock


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_socket_is_connected_and_may_be_used(host: str) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.closing(WireListener(host)) as listener, unconnected(host) as sock:
        await soon(connect(loop, sock, host, listener.port))
        with await soon(listener.accept()) as accepted:
            wire = Wire(sock)
            await wire.send(b"hello")
            assert await soon(accepted.receive()) == b"hello"
            await accepted.send(b"hello yourself")
            assert await soon(wire.receive()) == b"hello yourself"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_refusal_is_told(host: str) -> None:
    with closed_port() as port, unconnected(host) as sock:
        with pytest.raises(ConnectionRefusedError) as caught:
            await soon(connect(asyncio.get_running_loop(), sock, host, port))
        assert caught.value.errno == errno.ECONNREFUSED


async def test_an_error_that_is_known_at_once_is_told() -> None:
    # A stream socket cannot be connected to a group of hosts.
    with unconnected() as sock, pytest.raises(OSError, match="unreachable"):
        await soon(connect(asyncio.get_running_loop(), sock, "224.0.0.1", 80))


async def test_whoever_gives_up_leaves_nothing_watched() -> None:
    loop = asyncio.get_running_loop()
    async with deaf_port() as port:
        with unconnected() as sock:
            task = loop.create_task(connect(loop, sock, "127.0.0.1", port))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(task)
            assert not loop.remove_writer(sock.fileno())


class Counted:
    """The running loop, that counts which sockets it is asked to watch."""

    def __init__(self) -> None:
        self.watched = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def add_writer(self, *args: Any) -> None:
        self.watched += 1
        asyncio.get_running_loop().add_writer(*args)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the answer may come later")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_on_the_loopback_the_loop_is_not_asked(host: str) -> None:
    counted = Counted()
    loop = cast(asyncio.AbstractEventLoop, counted)
    with contextlib.closing(WireListener(host)) as listener, unconnected(host) as sock:
        await soon(connect(loop, sock, host, listener.port))
    refused = pytest.raises(ConnectionRefusedError)
    with closed_port() as port, unconnected(host) as sock, refused:
        await soon(connect(loop, sock, host, port))
    assert counted.watched == 0


async def test_a_peer_whose_queue_is_full_is_left_after_the_grace() -> None:
    loop = asyncio.get_running_loop()
    async with deaf_port() as port:
        with unconnected() as sock:
            with pytest.raises(ConnectTimeout):
                await soon(connect(loop, sock, "127.0.0.1", port, 1 * MS))
            assert not loop.remove_writer(sock.fileno())


@pytest.mark.parametrize("grace", [None, SOON])
async def test_a_peer_that_answers_later_is_waited_for(grace: float | None) -> None:
    class Later(socket.socket):
        answers = iter([errno.EINPROGRESS, errno.EALREADY])

        def connect_ex(self, address: Any) -> int:
            error = super().connect_ex(address)
            return next(self.answers, error)

    with contextlib.closing(WireListener()) as listener, Later() as sock:
        sock.setblocking(False)
        await soon(connect(asyncio.get_running_loop(), sock, "127.0.0.1", listener.port, grace))
        assert sock.getpeername()[1] == listener.port


async def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", never)
    with contextlib.closing(WireListener()) as listener, unconnected() as sock:
        await soon(connect(loop, sock, "127.0.0.1", listener.port))


async def test_a_socket_is_connected_with_our_options_or_closed() -> None:
    loop = asyncio.get_running_loop()
    with contextlib.closing(WireListener()) as listener, socket.socket() as sock:
        await soon(connect_tuned(loop, sock, "127.0.0.1", listener.port))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getpeername()[1] == listener.port
    with closed_port() as port:
        sock = socket.socket()
        with pytest.raises(ConnectionRefusedError):
            await soon(connect_tuned(loop, sock, "127.0.0.1", port))
        assert sock.fileno() == -1
