"""Listening sockets: bound, refused, shared between workers, and inherited."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from cmux_proxy.config.address import Address
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.errors import ListenError
from cmux_proxy.server import binding
from cmux_proxy.server.binding import (
    adopt_sockets,
    bind,
    bind_worker_sockets,
    bound_address,
    distinct_addresses,
    is_dual_stack,
    open_sockets,
    open_worker_sockets,
    reachable_addresses,
)
from tests.helpers.bound import LOCAL, bound_sockets


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Return bound sockets, for tests that are not coroutines."""
    with bound_sockets() as bound:
        yield bound


# What is bound


def distinct(*texts: str, dual_stack: bool = True) -> list[str]:
    addresses = [Address.parse(text) for text in texts]
    return [str(address) for address in distinct_addresses(addresses, dual_stack)]


def test_addresses_keep_their_order() -> None:
    assert distinct("127.0.0.2:2", "[::1]:1", "127.0.0.1:1") == (
        ["127.0.0.2:2", "[::1]:1", "127.0.0.1:1"]
    )


def test_an_exact_duplicate_is_bound_once() -> None:
    assert distinct("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:1") == ["127.0.0.1:1", "127.0.0.1:2"]
    assert distinct("[::1]:1", "[0::1]:1") == ["[::1]:1"]
    assert distinct("0.0.0.0:1", "0.0.0.0:1") == ["0.0.0.0:1"]
    assert distinct("[::]:1", "[::]:1") == ["[::]:1"]


def test_the_default_addresses_need_one_socket() -> None:
    assert distinct("0.0.0.0:8080", "127.0.0.1:8080") == ["0.0.0.0:8080"]


def test_a_wildcard_covers_its_family_on_its_port_in_any_order() -> None:
    assert distinct("127.0.0.1:1", "0.0.0.0:1", "127.0.0.2:1") == ["0.0.0.0:1"]
    assert distinct("[::1]:1", "[::]:1", dual_stack=False) == ["[::]:1"]
    assert distinct("127.0.0.1:2", "0.0.0.0:1") == ["127.0.0.1:2", "0.0.0.0:1"]
    assert distinct("[::1]:1", "0.0.0.0:1") == ["[::1]:1", "0.0.0.0:1"]


def test_the_ipv6_wildcard_covers_ipv4_where_it_is_dual_stack() -> None:
    texts = ("127.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::1]:1")
    assert distinct(*texts, dual_stack=True) == ["[::]:1"]
    assert distinct(*texts, dual_stack=False) == ["0.0.0.0:1", "[::]:1"]
    assert distinct("127.0.0.1:2", "[::]:1") == ["127.0.0.1:2", "[::]:1"]


def test_port_0_is_never_covered() -> None:
    texts = ("0.0.0.0:0", "127.0.0.1:0", "[::]:0", "[::1]:0")
    assert distinct(*texts) == list(texts)


class FakeSocket(socket.socket):
    """A socket whose options the test sets."""

    option = 0
    error: OSError | None = None

    def getsockopt(self, *_: object) -> int:  # type: ignore[override]
        if self.error is not None:
            raise self.error
        return self.option


@pytest.mark.parametrize(("only_v6", "dual"), [(0, True), (1, False)])
def test_the_system_decides_whether_it_is_dual_stack(
    only_v6: int, dual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSocket, "option", only_v6)
    monkeypatch.setattr("cmux_proxy.server.binding.socket.socket", FakeSocket)
    assert is_dual_stack() is dual


def test_a_machine_without_ipv6_is_not_dual_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSocket, "error", OSError(errno.EAFNOSUPPORT, "no"))
    monkeypatch.setattr("cmux_proxy.server.binding.socket.socket", FakeSocket)
    assert not is_dual_stack()
    monkeypatch.setattr("cmux_proxy.server.binding.socket.has_ipv6", False)
    assert not is_dual_stack()


def test_a_bound_socket_has_the_options_of_every_connection(sockets: list[socket.socket]) -> None:
    [sock] = sockets
    assert not sock.getblocking()
    assert not os.get_inheritable(sock.fileno())
    for level, option in (
        (socket.SOL_SOCKET, socket.SO_REUSEADDR),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
    ):
        assert sock.getsockopt(level, option)


def test_a_bound_socket_knows_its_address(sockets: list[socket.socket]) -> None:
    [sock] = sockets
    address = bound_address(sock)
    assert address.host == "127.0.0.1"
    assert address.port == sock.getsockname()[1]


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_bound_as_such() -> None:
    [sock] = bind([Address("::1", 0)])
    with sock:
        assert sock.family == socket.AF_INET6
        assert bound_address(sock).host == "::1"


# What is refused


def test_an_address_in_use_is_refused_and_the_others_are_freed(
    sockets: list[socket.socket],
) -> None:
    taken = bound_address(sockets[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(ListenError) as caught:
        bind([Address("127.0.0.1", free), taken])
    assert caught.value.address == str(taken)
    assert caught.value.reason == "the address is in use; `cmux-proxy ports` shows by whom"
    bind([Address("127.0.0.1", free)])[0].close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EADDRINUSE, ""), "the address is in use; `cmux-proxy ports` shows by whom"),
        (OSError(errno.EACCES, ""), "permission denied; ports below 1024 need privileges"),
        (OSError(errno.EADDRNOTAVAIL, ""), "this machine does not have the address"),
        (OSError(errno.EMFILE, ""), os.strerror(errno.EMFILE)),
        (OSError("unusual"), "unusual"),
    ],
)
def test_a_failure_has_a_reason(
    error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unbindable(socket.socket):
        def bind(self, address: object, /) -> None:
            raise error

    monkeypatch.setattr("cmux_proxy.server.binding.socket.socket", Unbindable)
    with pytest.raises(ListenError) as caught:
        bind([LOCAL])
    assert str(caught.value) == f"cannot listen on 127.0.0.1:0: {reason}"


def test_a_socket_that_cannot_be_created_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(binding, "is_dual_stack", lambda: True)
    monkeypatch.setattr("cmux_proxy.server.binding.socket.socket", no_socket)
    with pytest.raises(ListenError) as caught:
        bind([LOCAL])
    assert caught.value.reason == os.strerror(errno.EMFILE)


# For several workers


def bind_workers(workers: int, *addresses: Address) -> list[list[socket.socket]]:
    return bind_worker_sockets(addresses or [LOCAL], workers)


@contextmanager
def closing(groups: list[list[socket.socket]]) -> Iterator[None]:
    try:
        yield
    finally:
        for sock in {sock for group in groups for sock in group}:
            sock.close()


def test_each_worker_has_its_own_socket_for_each_address() -> None:
    groups = bind_workers(3, LOCAL, Address("127.0.0.2", 0))
    with closing(groups):
        names = [[sock.getsockname() for sock in group] for group in groups]
        assert [host for host, _port in names[0]] == ["127.0.0.1", "127.0.0.2"]
        assert names == [names[0]] * 3
        assert len({sock.fileno() for group in groups for sock in group}) == 6
        for sock in (sock for group in groups for sock in group):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not sock.getblocking()
            assert not sock.get_inheritable()


def test_connections_are_balanced_over_the_workers() -> None:
    groups = bind_workers(2)
    with closing(groups), ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(groups[0][0].getsockname()))
        shares = [count_accepted(group[0]) for group in groups]
        assert sum(shares) == 64
        assert min(shares) >= 12


def count_accepted(sock: socket.socket) -> int:
    """Accept the connections in the backlog; return how many there were."""
    for count in range(1000):
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
    raise AssertionError


def test_workers_share_one_socket_where_the_system_does_not_balance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Private, because it is a property of the operating system.
    monkeypatch.setattr(binding, "_BALANCES_REUSEPORT", False)
    groups = bind_workers(3)
    with closing(groups):
        assert groups == [groups[0]] * 3
        assert not groups[0][0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


@pytest.mark.parametrize("workers", [1, 2])
def test_shared_addresses_are_in_use_for_other_programs(workers: int) -> None:
    groups = bind_workers(2)
    with closing(groups):
        with pytest.raises(ListenError) as caught:
            bind_workers(workers, bound_address(groups[0][0]))
        assert caught.value.reason == "the address is in use; `cmux-proxy ports` shows by whom"


def test_a_reuseport_socket_of_another_program_is_a_conflict() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ListenError):
            bind_workers(2, bound_address(other))


def test_a_failure_for_one_worker_frees_the_sockets_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created: list[socket.socket] = []

    class LimitedSocket(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            if len(created) == 3:
                raise OSError(errno.EMFILE, "")
            super().__init__(*arguments)
            created.append(self)

    monkeypatch.setattr("cmux_proxy.server.binding.socket.socket", LimitedSocket)
    with pytest.raises(ListenError) as caught:
        bind_worker_sockets([LOCAL], 4)
    assert caught.value.reason == os.strerror(errno.EMFILE)
    assert [sock.fileno() for sock in created] == [-1] * 3


def test_adopted_sockets_get_the_proxys_options() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert adopt_sockets([sock]) == [sock]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()


# Paths and descriptors


def configured(*listen: str, workers: int = 1, unix_mode: int | None = None) -> Config:
    return Config(listen=listen, workers=workers, unix_mode=unix_mode)


@contextmanager
def listening_descriptor() -> Iterator[tuple[int, socket.socket]]:
    """Return a descriptor to adopt, and the socket that stays open."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.dup().detach(), sock


def test_inherited_sockets_come_first_and_get_the_proxys_options(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening_descriptor() as (descriptor, given):
        config = configured(f"unix:{path}", f"fd://{descriptor}", unix_mode=0o600)
        inherited, bound = open_sockets(config)
        with inherited, bound:
            assert inherited.getsockname() == given.getsockname()
            assert inherited.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not inherited.getblocking()
            assert bound_address(bound) == Address("", 0, str(path))
            assert path.lstat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_closes_all_other_sockets(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening_descriptor() as (descriptor, _given):
        config = configured(f"fd://{descriptor}", f"unix:{path}", "192.0.2.1:0", workers=workers)
        with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
            (open_sockets if workers == 1 else open_worker_sockets)(config)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
        assert not path.exists()
    with listening_descriptor() as (descriptor, _given):
        config = configured(f"fd://{descriptor}", "fd://999999", workers=workers)
        with pytest.raises(ListenError, match="fd://999999"):
            (open_sockets if workers == 1 else open_worker_sockets)(config)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_all_workers_share_unix_and_inherited_sockets(
    tmp_path: Path,
) -> None:
    with listening_descriptor() as (descriptor, _given):
        config = configured(f"unix:{tmp_path}/s", "127.0.0.1:0", f"fd://{descriptor}", workers=3)
        groups = open_worker_sockets(config)
        with closing(groups):
            inherited, at_path, at_port = zip(*groups, strict=True)
            assert [len(set(group)) for group in (inherited, at_path, at_port)] == [1, 1, 3]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EADDRINUSE, "another program listens there"),
        (errno.EEXIST, "the file there is not a socket"),
        (errno.EACCES, os.strerror(errno.EACCES)),
    ],
)
def test_a_failure_at_a_path_has_a_reason(
    error: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(binding, "listen_unix", fails)
    with pytest.raises(ListenError) as caught:
        bind([Address("", 0, "/a")])
    assert str(caught.value) == f"cannot listen on unix:/a: {reason}"


def test_a_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(ListenError, match="too long"):
        bind([Address("", 0, "/tmp/" + "n" * 200)])


class Named:
    """A Unix socket with a given name."""

    family = socket.AF_UNIX

    def __init__(self, name: str | bytes) -> None:
        self._name = name

    def getsockname(self) -> str | bytes:
        return self._name


@pytest.mark.parametrize(("name", "shown"), [("\0a", "@a"), (b"\0a", "@a"), ("", "@")])
def test_a_unix_socket_without_a_file_has_a_name_too(name: str | bytes, shown: str) -> None:
    assert bound_address(cast(socket.socket, Named(name))).path == shown


# Reachable addresses


def test_unix_sockets_have_no_reachable_address(tmp_path: Path) -> None:
    with bind([Address("", 0, str(tmp_path / "s"))])[0] as sock:
        assert reachable_addresses([sock]) == []


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize("only_v6", [True, False])
def test_the_socket_option_decides_whether_a_wildcard_accepts_ipv4(
    only_v6: bool,
) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind(("::", 0))
        port = sock.getsockname()[1]
        ipv4 = [] if only_v6 else [Address("0.0.0.0", port)]
        assert reachable_addresses([sock]) == [Address("::", port), *ipv4]


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_a_mapped_address_is_reachable_as_ipv4() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::ffff:127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert reachable_addresses([sock]) == [Address("127.0.0.1", port)]
