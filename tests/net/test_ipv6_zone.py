"""Zones of IPv6 addresses, as texts and as sockets have them."""

import errno
import socket

import pytest

from cmux_proxy.net.ipv6_zone import from_sockaddr, index_of, to_sockaddr

LOOPBACK = socket.if_indextoname(socket.if_nametoindex("lo"))
INDEX = socket.if_nametoindex(LOOPBACK)


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1", ("127.0.0.1", 80)),
        ("::1", ("::1", 80)),
        (f"fe80::1%{LOOPBACK}", ("fe80::1", 80, 0, INDEX)),
        (f"fe80::1%{INDEX}", ("fe80::1", 80, 0, INDEX)),
        ("fe80::1%4000000", ("fe80::1", 80, 0, 4_000_000)),
    ],
)
def test_a_socket_gets_the_zone_as_a_number(host: str, place: tuple[object, ...]) -> None:
    assert to_sockaddr(host, 80) == place


@pytest.mark.parametrize("zone", ["no-such", "\u0661", "-1"])
def test_an_interface_that_is_not_there_is_an_error(zone: str) -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        index_of(zone)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (("127.0.0.1", 80), "127.0.0.1"),
        (("::1", 80, 0, 0), "::1"),
        (("fe80::1", 80, 0, INDEX), f"fe80::1%{LOOPBACK}"),
        (("fe80::1%lo", 80, 0, INDEX), f"fe80::1%{LOOPBACK}"),
        (("fe80::1", 80, 0, 4_000_000), "fe80::1%4000000"),
    ],
)
def test_the_name_of_a_socket_has_it_as_a_name(name: tuple[object, ...], host: str) -> None:
    assert from_sockaddr(name) == host
