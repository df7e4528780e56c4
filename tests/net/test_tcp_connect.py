"""Connecting a socket: how it ends, and that it needs no name server."""

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from cmux_proxy.net.stream import Loop
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
async def test_a_refusal_is_raised(host: str) -> None:
    with closed_port() as port, unconnected(host) as sock:
        with pytest.raises(ConnectionRefusedError) as caught:
            await soon(connect(asyncio.get_running_loop(), sock, host, port))
        assert caught.value.errno == errno.ECONNREFUSED


async def test_an_error_that_is_known_at_once_is_raised() -> None:
    # A stream socket cannot be connected to a group of hosts.
    with unconnected() as sock, pytest.raises(OSError, match="unreachable"):
        await soon(connect(asyncio.get_running_loop(), sock, "224.0.0.1", 80))


async def test_a_cancelled_connect_leaves_no_descriptor_watched() -> None:
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
    """The running loop, which counts the sockets that it watches."""

    def __init__(self) -> None:
        self.watched = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def add_writer(self, *args: Any) -> None:
        self.watched += 1
        asyncio.get_running_loop().add_writer(*args)


@pytest.mark.skipif(
    sys.platform != "linux", reason="on other systems the connection may exist later"
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_on_the_loopback_no_socket_is_watched(host: str) -> None:
    counted = Counted()
    loop = cast(Loop, counted)
    with contextlib.closing(WireListener(host)) as listener, unconnected(host) as sock:
        await soon(connect(loop, sock, host, listener.port))
    refused = pytest.raises(ConnectionRefusedError)
    with closed_port() as port, unconnected(host) as sock, refused:
        await soon(connect(loop, sock, host, port))
    assert counted.watched == 0


async def test_a_peer_with_a_full_backlog_has_a_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with deaf_port() as port:
        with unconnected() as sock:
            with pytest.raises(ConnectTimeout):
                await soon(connect(loop, sock, "127.0.0.1", port, 1 * MS))
            assert not loop.remove_writer(sock.fileno())


@pytest.mark.parametrize("timeout", [None, SOON])
async def test_a_peer_that_accepts_later_is_waited_for(timeout: float | None) -> None:
    class Later(socket.socket):
        errors = iter([errno.EINPROGRESS, errno.EALREADY])

        def connect_ex(self, address: Any) -> int:
            error = super().connect_ex(address)
            return next(self.errors, error)

    with contextlib.closing(WireListener()) as listener, Later() as sock:
        sock.setblocking(False)
        await soon(connect(asyncio.get_running_loop(), sock, "127.0.0.1", listener.port, timeout))
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
