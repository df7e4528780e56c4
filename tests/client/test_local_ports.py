"""Sockets on a local port, of all addresses that a name has."""

import contextlib
import errno
import socket
from typing import Any

import pytest

from cmux_proxy.client import local_ports
from cmux_proxy.client.local_ports import listen_on, shown


async def bound(bind: str, port: int = 0) -> list[str]:
    """Return where sockets listened."""
    sockets = await listen_on(bind, port)
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


async def test_another_port_is_tried_where_the_other_family_has_it_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = local_ports._listening
    taken: list[int] = []

    def listening(
        opened: contextlib.ExitStack, family: socket.AddressFamily, address: Any
    ) -> socket.socket:
        if family == socket.AF_INET6 and not taken:
            taken.append(address[1])
            raise OSError(errno.EADDRINUSE, "taken")
        return real(opened, family, address)

    monkeypatch.setattr(local_ports, "_listening", listening)
    addresses = await bound("localhost")
    assert len(addresses) == 2
    assert taken


async def test_a_family_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # A net of this name is nowhere.
    monkeypatch.setattr(local_ports, "LOOPBACKS", ("127.0.0.1", "2001:db8::1"))
    (address,) = await bound("localhost")
    assert address.startswith("127.0.0.1:")
    with pytest.raises(OSError, match="assign"):
        await bound("2001:db8::1")


async def test_a_port_in_use_is_an_error() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
        pytest.raises(OSError, match="in use"),
    ):
        await bound("localhost", other.getsockname()[1])
