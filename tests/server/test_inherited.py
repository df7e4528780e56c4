"""Inherited sockets: which descriptors are for this process, and which are usable."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cmux_proxy.errors import ListenError
from cmux_proxy.server.inherited import InheritedSockets, adopt_descriptor, take_listen_fds

ME = str(os.getpid())


@pytest.mark.parametrize(
    ("pid", "count", "expected"),
    [
        (ME, "1", [3]),
        (ME, "3", [3, 4, 5]),
        (ME, "0", []),
        (None, None, []),
        (ME, None, []),
        *[(ME, count, []) for count in ["", "-1", "+1", "1.0", "x", "9" * 6, "\u0661"]],
    ],
    ids=lambda value: "me" if value == ME else None,
)
def test_only_descriptors_for_this_process_are_taken(
    pid: str | None, count: str | None, expected: list[int]
) -> None:
    given = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": "a", "A": "1"}
    environment = {name: value for name, value in given.items() if value is not None}
    assert take_listen_fds(environment) == InheritedSockets(expected)
    # Child processes do not see the variables.
    assert environment == {"A": "1"}


@pytest.mark.parametrize(
    ("pid", "owner"), [("1", "process 1"), (None, "another process"), ("x", "another process")]
)
def test_descriptors_for_another_process_are_a_problem(pid: str | None, owner: str) -> None:
    environment = {"LISTEN_FDS": "9"} | ({} if pid is None else {"LISTEN_PID": pid})
    inherited = take_listen_fds(environment)
    assert environment == {}
    assert inherited.descriptors == []
    assert inherited.problem == (
        f"it was passed to {owner} (LISTEN_PID), and this is {ME}; use --listen "
        "fd://3,fd://4,fd://5,fd://6 if that process left it open, or listen on another address"
    )


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_listening_socket_is_adopted(family: socket.AddressFamily, tmp_path: Path) -> None:
    with socket.socket(family) as given:
        hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
        given.bind((hosts[family], 0) if family in hosts else str(tmp_path / "s"))
        given.listen()
        given.set_inheritable(True)
        with adopt_descriptor(given.fileno()) as sock:
            assert (sock.family, sock.getsockname()) == (family, given.getsockname())
            assert not sock.get_inheritable()
        given.detach()


def open_file() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def open_datagram_socket() -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock.detach()


def open_unbound_socket() -> int:
    return socket.socket().detach()


@pytest.mark.parametrize("open_socket", [open_datagram_socket, open_unbound_socket])
def test_a_socket_that_does_not_listen_is_refused_and_left_open(
    open_socket: Callable[[], int],
) -> None:
    descriptor = open_socket()
    with pytest.raises(ListenError) as caught:
        adopt_descriptor(descriptor)
    assert str(caught.value) == (
        f"cannot listen on fd://{descriptor}: it is not a listening TCP or Unix socket"
    )
    os.close(descriptor)


def test_a_file_is_refused_and_left_open() -> None:
    descriptor = open_file()
    with pytest.raises(ListenError, match="Socket operation on non-socket"):
        adopt_descriptor(descriptor)
    os.close(descriptor)


def test_a_closed_descriptor_is_refused() -> None:
    descriptor = open_file()
    os.close(descriptor)
    with pytest.raises(ListenError, match="Bad file descriptor"):
        adopt_descriptor(descriptor)
