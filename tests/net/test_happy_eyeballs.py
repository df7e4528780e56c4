"""Several addresses, of which the first that accepts is taken."""

import asyncio
import contextlib
import socket

import pytest

from cmux_proxy.net.happy_eyeballs import AddressInfo, connect_first
from cmux_proxy.net.tcp_connect import ConnectTimeout
from tests.helpers.timing import MS, soon
from tests.helpers.wire import WireListener, closed_port, deaf_port


def infos(port: int, *hosts: str) -> list[AddressInfo]:
    """Return addresses as getaddrinfo does."""
    return [
        (
            socket.AF_INET6 if ":" in host else socket.AF_INET,
            socket.SOCK_STREAM,
            6,
            "",
            (host, port),
        )
        for host in hosts
    ]


async def test_the_first_address_that_accepts_is_taken_with_our_options() -> None:
    with contextlib.closing(WireListener("127.0.0.2")) as listener:
        addresses = infos(listener.port, "127.0.0.1", "127.0.0.2")
        loop = asyncio.get_running_loop()
        with await soon(connect_first(loop, addresses, listener.port)) as sock:
            assert sock.getpeername() == ("127.0.0.2", listener.port)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_address_that_does_not_respond_does_not_hold_up_the_next() -> None:
    loop = asyncio.get_running_loop()
    async with deaf_port() as port:
        with contextlib.closing(WireListener("::1", port)):
            addresses = infos(port, "127.0.0.1", "::1")
            with await soon(connect_first(loop, addresses, port, delay=1 * MS)) as sock:
                assert sock.getpeername()[0] == "::1"


async def test_addresses_that_all_refuse_are_a_refusal() -> None:
    with closed_port() as port:
        addresses = infos(port, "127.0.0.1", "::1")
        with pytest.raises(ConnectionRefusedError):
            await soon(connect_first(asyncio.get_running_loop(), addresses, port))


async def test_addresses_that_do_not_respond_have_a_timeout() -> None:
    async with deaf_port() as port:
        addresses = infos(port, "127.0.0.1", "127.0.0.1")
        with pytest.raises(ConnectTimeout):
            await soon(connect_first(asyncio.get_running_loop(), addresses, port, 10 * MS))
