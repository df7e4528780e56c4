"""What the kernel tells at once."""

import socket

import pytest

from cmux_proxy.isolation.proc_net import listening_sockets
from cmux_proxy.machine import sock_diag
from cmux_proxy.machine.sock_diag import listening_now


def places() -> set[tuple[str, int]]:
    return {(each.address, each.port) for each in listening_now()}


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("127.18.1.2", "127.18.1.2"),
        ("::1", "::1"),
        ("::", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_an_address_is_told_while_it_is_listened_on(bound: str, told: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as sock:
        sock.bind((bound, 0))
        port = sock.getsockname()[1]
        assert (told, port) not in places()
        sock.listen()
        assert (told, port) in places()
        mine = [each for each in listening_sockets() if each.port == port]
        assert [each for each in listening_now() if each.port == port] == mine
    assert (told, port) not in places()


def test_what_is_connected_does_not_listen() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getsockname() not in places()


def test_an_answer_of_many_pieces_is_read_to_its_end() -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(600)]
    try:
        assert {server.getsockname() for server in servers} <= places()
    finally:
        for server in servers:
            server.close()


def test_where_there_is_no_such_question_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "_BY_FAMILY", 21)
    with pytest.raises(OSError, match="does not tell"):
        listening_now()
    monkeypatch.delattr(socket, "AF_NETLINK")
    with pytest.raises(OSError, match="no netlink"):
        listening_now()
