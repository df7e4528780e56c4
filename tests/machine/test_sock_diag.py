"""Listening sockets, as the kernel lists them."""

import socket

import pytest

from cmux_proxy.isolation.proc_net import read_listening_sockets
from cmux_proxy.machine import sock_diag
from cmux_proxy.machine.sock_diag import query_listening_sockets


def addresses() -> set[tuple[str, int]]:
    return {(sock.address, sock.port) for sock in query_listening_sockets()}


@pytest.mark.parametrize(
    ("bound", "listed"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("127.18.1.2", "127.18.1.2"),
        ("::1", "::1"),
        ("::", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_an_address_is_listed_while_a_socket_listens_on_it(bound: str, listed: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as sock:
        sock.bind((bound, 0))
        port = sock.getsockname()[1]
        assert (listed, port) not in addresses()
        sock.listen()
        assert (listed, port) in addresses()
        expected = [entry for entry in read_listening_sockets() if entry.port == port]
        assert [entry for entry in query_listening_sockets() if entry.port == port] == expected
    assert (listed, port) not in addresses()


def test_a_connected_socket_is_not_listed() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getsockname() not in addresses()


def test_a_response_of_several_datagrams_is_read_completely() -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(600)]
    try:
        assert {server.getsockname() for server in servers} <= addresses()
    finally:
        for server in servers:
            server.close()


def test_an_unsupported_query_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "SOCK_DIAG_BY_FAMILY", 21)
    with pytest.raises(OSError, match="does not list"):
        query_listening_sockets()
    monkeypatch.delattr(socket, "AF_NETLINK")
    with pytest.raises(OSError, match="no netlink"):
        query_listening_sockets()
