"""Whether a program still holds the other end of a connection, as the kernel says."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy.machine.orphaned_sockets import Orphans


@contextlib.contextmanager
def connected(
    host: str, listens_on: str | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection, that of the program first."""
    family = socket.AF_INET6 if ":" in (listens_on or host) else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((listens_on or host, 0))
        listener.listen()
        one = stack.enter_context(socket.create_connection((host, listener.getsockname()[1])))
        other, _address = listener.accept()
        yield one, stack.enter_context(other)


WHERE = pytest.mark.parametrize(
    ("host", "listens_on"),
    [("127.0.0.1", None), ("::1", None), ("127.0.0.1", "::"), ("::1", "::")],
    ids=["IPv4", "IPv6", "IPv4 at a socket for both", "IPv6 at a socket for both"],
)


@WHERE
def test_a_program_that_ends_its_half_has_not_closed(host: str, listens_on: str | None) -> None:
    with connected(host, listens_on) as (one, other), Orphans() as orphans:
        assert not orphans.is_closed(other)
        one.shutdown(socket.SHUT_WR)
        assert not orphans.is_closed(other)


@WHERE
def test_a_program_that_closes_has_closed(host: str, listens_on: str | None) -> None:
    with connected(host, listens_on) as (one, other), Orphans() as orphans:
        one.close()
        assert orphans.is_closed(other)


def test_an_end_that_cannot_be_sent_yet_is_one() -> None:
    with connected("127.0.0.1") as (one, other), Orphans() as orphans:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                one.send(bytes(65536))
        assert not orphans.is_closed(other)
        one.close()
        assert orphans.is_closed(other)


def test_a_connection_that_another_process_holds_too_is_not_closed() -> None:
    with connected("127.0.0.1") as (one, other), Orphans() as orphans, one.dup() as held:
        one.shutdown(socket.SHUT_WR)
        one.close()
        assert not orphans.is_closed(other)
        held.close()
        assert orphans.is_closed(other)


def test_nothing_is_known_of_a_program_elsewhere() -> None:
    class Remote:
        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.1", 40000

        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.2", 80

    with Orphans() as orphans:
        assert not orphans.is_closed(Remote())


def test_a_link_local_address_may_be_asked_about() -> None:
    class Linked:
        def getpeername(self) -> tuple[Any, ...]:
            return "fe80::1%lo", 40000, 0, 1

        def getsockname(self) -> tuple[Any, ...]:
            return "fe80::2%lo", 80, 0, 1

    with Orphans() as orphans:
        assert not orphans.is_closed(Linked())


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_where_the_kernel_may_not_be_asked_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    with connected("127.0.0.1") as (one, other):

        def refuse(*_: Any) -> None:
            raise error

        monkeypatch.setattr(socket, "socket", refuse)
        with Orphans() as orphans:
            one.close()
            assert not orphans.is_closed(other)


def test_where_there_is_no_netlink_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    with connected("127.0.0.1") as (one, other), Orphans() as orphans:
        one.close()
        assert not orphans.is_closed(other)


def test_a_connection_that_is_lost_is_not_asked_about() -> None:
    with connected("127.0.0.1") as (one, other), Orphans() as orphans:
        other.send(b"unread")
        one.close()
        assert not orphans.is_closed(other)
