"""Whether a program still holds the other end of a connection, according to the kernel."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy.machine.orphaned_sockets import OrphanQuery


@contextlib.contextmanager
def connected(
    host: str, listens_on: str | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection, the program's first."""
    family = socket.AF_INET6 if ":" in (listens_on or host) else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((listens_on or host, 0))
        listener.listen()
        client = stack.enter_context(socket.create_connection((host, listener.getsockname()[1])))
        accepted, _address = listener.accept()
        yield client, stack.enter_context(accepted)


ADDRESSES = pytest.mark.parametrize(
    ("host", "listens_on"),
    [("127.0.0.1", None), ("::1", None), ("127.0.0.1", "::"), ("::1", "::")],
    ids=["IPv4", "IPv6", "IPv4 at a socket for both", "IPv6 at a socket for both"],
)


@ADDRESSES
def test_a_program_that_ends_its_half_has_not_closed(host: str, listens_on: str | None) -> None:
    with connected(host, listens_on) as (client, accepted), OrphanQuery() as query:
        assert not query.is_peer_closed(accepted)
        client.shutdown(socket.SHUT_WR)
        assert not query.is_peer_closed(accepted)


@ADDRESSES
def test_a_program_that_closes_its_socket_has_closed(host: str, listens_on: str | None) -> None:
    with connected(host, listens_on) as (client, accepted), OrphanQuery() as query:
        client.close()
        assert query.is_peer_closed(accepted)


def test_a_close_counts_although_its_fin_cannot_be_sent_yet() -> None:
    with connected("127.0.0.1") as (client, accepted), OrphanQuery() as query:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(65536))
        assert not query.is_peer_closed(accepted)
        client.close()
        assert query.is_peer_closed(accepted)


def test_a_connection_that_another_process_holds_too_is_not_closed() -> None:
    with connected("127.0.0.1") as (client, accepted), OrphanQuery() as query, client.dup() as held:
        client.shutdown(socket.SHUT_WR)
        client.close()
        assert not query.is_peer_closed(accepted)
        held.close()
        assert query.is_peer_closed(accepted)


def test_a_program_on_another_machine_does_not_count_as_closed() -> None:
    class Remote:
        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.1", 40000

        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.2", 80

    with OrphanQuery() as query:
        assert not query.is_peer_closed(Remote())


def test_a_link_local_address_may_be_queried() -> None:
    class Linked:
        def getpeername(self) -> tuple[Any, ...]:
            return "fe80::1%lo", 40000, 0, 1

        def getsockname(self) -> tuple[Any, ...]:
            return "fe80::2%lo", 80, 0, 1

    with OrphanQuery() as query:
        assert not query.is_peer_closed(Linked())


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_no_socket_counts_as_closed_where_netlink_is_forbidden(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    with connected("127.0.0.1") as (client, accepted):

        def refuse(*_: Any) -> None:
            raise error

        monkeypatch.setattr(socket, "socket", refuse)
        with OrphanQuery() as query:
            client.close()
            assert not query.is_peer_closed(accepted)


def test_no_socket_counts_as_closed_where_there_is_no_netlink(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    with connected("127.0.0.1") as (client, accepted), OrphanQuery() as query:
        client.close()
        assert not query.is_peer_closed(accepted)


def test_a_reset_connection_does_not_count_as_closed() -> None:
    with connected("127.0.0.1") as (client, accepted), OrphanQuery() as query:
        accepted.send(b"unread")
        client.close()
        assert not query.is_peer_closed(accepted)
