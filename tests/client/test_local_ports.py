"""Sockets on a local port, of all addresses that a name has."""

import errno
import socket
from typing import Any

import pytest

from cmux_proxy.client.local_ports import listen_on, listening_socket, shown


async def bound(bind: str, port: int = 0, **options: Any) -> list[str]:
    """Return the addresses that sockets have listened on."""
    sockets = await listen_on(bind, port, **options)
    addresses = list(shown(sockets))
    for sock in sockets:
        sock.close()
    return addresses


@pytest.mark.parametrize(
    ("bind", "hosts"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["127.0.0.1", "[::1]"]),
        ("LocalHost", ["127.0.0.1", "[::1]"]),
        ("::1", ["[::1]"]),
        ("[::1]", ["[::1]"]),
        ("::", ["[::]"]),
    ],
)
async def test_all_addresses_of_a_name_have_one_port(bind: str, hosts: list[str]) -> None:
    addresses = await bound(bind)
    (port,) = {address.rpartition(":")[2] for address in addresses}
    assert addresses == [f"{host}:{port}" for host in hosts]
    assert port != "0"


async def test_another_port_is_tried_if_the_port_is_in_use_in_the_other_family() -> None:
    ports_in_use: list[int] = []

    def listen(family: socket.AddressFamily, address: Any) -> socket.socket:
        if family == socket.AF_INET6 and not ports_in_use:
            ports_in_use.append(address[1])
            raise OSError(errno.EADDRINUSE, "in use")
        return listening_socket(family, address)

    addresses = await bound("localhost", listen=listen)
    assert len(addresses) == 2
    assert ports_in_use


async def test_a_family_that_the_machine_lacks_is_left_out() -> None:
    # No machine has an address of the documentation prefix (RFC 3849).
    (address,) = await bound("localhost", loopbacks=("127.0.0.1", "2001:db8::1"))
    assert address.startswith("127.0.0.1:")
    with pytest.raises(OSError, match="assign"):
        await bound("2001:db8::1")


async def test_a_port_in_use_is_an_error() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
        pytest.raises(OSError, match="in use"),
    ):
        await bound("localhost", other.getsockname()[1])
