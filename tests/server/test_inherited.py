"""Sockets that were passed: which there are, and which can be used."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cmux_proxy.errors import ListenError
from cmux_proxy.server.inherited import Passed, passed_descriptors, take_over

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
def test_only_what_is_for_this_process_is_taken(
    pid: str | None, count: str | None, expected: list[int]
) -> None:
    given = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": "a", "A": "1"}
    environment = {name: value for name, value in given.items() if value is not None}
    assert passed_descriptors(environment) == Passed(expected)
    # Nobody whom this process starts shall take them for its own.
    assert environment == {"A": "1"}


@pytest.mark.parametrize(
    ("pid", "whose"), [("1", "process 1"), (None, "another process"), ("x", "another process")]
)
def test_what_is_for_another_process_is_a_problem(pid: str | None, whose: str) -> None:
    environment = {"LISTEN_FDS": "9"} | ({} if pid is None else {"LISTEN_PID": pid})
    passed = passed_descriptors(environment)
    assert environment == {}
    assert passed.descriptors == []
    assert passed.problem == (
        f"it was passed to {whose} (LISTEN_PID), and this is {ME}; use --listen "
        "fd://3,fd://4,fd://5,fd://6 where that process left it open, or say where else to listen"
    )


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_what_listens_is_taken_over(family: socket.AddressFamily, tmp_path: Path) -> None:
    with socket.socket(family) as given:
        hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
        given.bind((hosts[family], 0) if family in hosts else str(tmp_path / "s"))
        given.listen()
        given.set_inheritable(True)
        with take_over(given.fileno()) as sock:
            assert (sock.family, sock.getsockname()) == (family, given.getsockname())
            assert not sock.get_inheritable()
        given.detach()


def a_file() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def a_datagram_socket() -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock.detach()


def a_socket_that_does_not_listen() -> int:
    return socket.socket().detach()


@pytest.mark.parametrize("make", [a_datagram_socket, a_socket_that_does_not_listen])
def test_what_does_not_listen_is_refused_and_left_open(make: Callable[[], int]) -> None:
    descriptor = make()
    with pytest.raises(ListenError) as caught:
        take_over(descriptor)
    assert str(caught.value) == (
        f"cannot listen on fd://{descriptor}: it is not a TCP or Unix socket that listens"
    )
    os.close(descriptor)


def test_what_is_no_socket_is_refused_and_left_open() -> None:
    descriptor = a_file()
    with pytest.raises(ListenError, match="Socket operation on non-socket"):
        take_over(descriptor)
    os.close(descriptor)


def test_what_is_not_open_is_refused() -> None:
    descriptor = a_file()
    os.close(descriptor)
    with pytest.raises(ListenError, match="Bad file descriptor"):
        take_over(descriptor)
