"""Zones of IPv6 addresses, as texts and in addresses of sockets."""

import errno
import socket

import pytest

from cmux_proxy.net.ipv6_zone import from_sockaddr, interface_index, to_sockaddr

LOOPBACK = socket.if_indextoname(socket.if_nametoindex("lo"))
INDEX = socket.if_nametoindex(LOOPBACK)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 80)),
        ("::1", ("::1", 80)),
        (f"fe80::1%{LOOPBACK}", ("fe80::1", 80, 0, INDEX)),
        (f"fe80::1%{INDEX}", ("fe80::1", 80, 0, INDEX)),
        ("fe80::1%4000000", ("fe80::1", 80, 0, 4_000_000)),
    ],
)
def test_a_socket_gets_the_zone_as_a_number(host: str, address: tuple[object, ...]) -> None:
    assert to_sockaddr(host, 80) == address


@pytest.mark.parametrize("zone", ["no-such", "\u0661", "-1"])
def test_an_interface_that_is_not_there_is_an_error(zone: str) -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        interface_index(zone)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("127.0.0.1", 80), "127.0.0.1"),
        (("::1", 80, 0, 0), "::1"),
        (("fe80::1", 80, 0, INDEX), f"fe80::1%{LOOPBACK}"),
        (("fe80::1%lo", 80, 0, INDEX), f"fe80::1%{LOOPBACK}"),
        (("fe80::1", 80, 0, 4_000_000), "fe80::1%4000000"),
    ],
)
def test_an_interface_number_becomes_a_name(address: tuple[object, ...], host: str) -> None:
    assert from_sockaddr(address) == host
