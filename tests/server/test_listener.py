"""Addresses to sockets: what is bound, what is refused, and accepting that can pause."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import pytest

from cmux_proxy.config import Address
from cmux_proxy.errors import ListenError
from cmux_proxy.server import listener as listening
from cmux_proxy.server.accepting import Arrivals, Factory
from cmux_proxy.server.listener import (
    Listener,
    adopt,
    bind,
    bind_shared,
    bound_address,
    distinct_addresses,
    is_dual_stack,
)

LOCAL = Address("127.0.0.1", 0)


@contextmanager
def bound_sockets() -> Iterator[list[socket.socket]]:
    """Bind a socket for as long as the block lasts."""
    bound = bind([LOCAL])
    try:
        yield bound
    finally:
        for sock in bound:
            sock.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Sockets that the test has bound, where it is no coroutine."""
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


def test_the_defaults_are_one_socket() -> None:
    assert distinct("0.0.0.0:8080", "127.0.0.1:8080") == ["0.0.0.0:8080"]


def test_a_wildcard_covers_its_family_on_its_port_wherever_it_stands() -> None:
    assert distinct("127.0.0.1:1", "0.0.0.0:1", "127.0.0.2:1") == ["0.0.0.0:1"]
    assert distinct("[::1]:1", "[::]:1", dual_stack=False) == ["[::]:1"]
    assert distinct("127.0.0.1:2", "0.0.0.0:1") == ["127.0.0.1:2", "0.0.0.0:1"]
    assert distinct("[::1]:1", "0.0.0.0:1") == ["[::1]:1", "0.0.0.0:1"]


def test_the_ipv6_wildcard_covers_ipv4_where_it_is_dual_stack() -> None:
    texts = ("127.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::1]:1")
    assert distinct(*texts, dual_stack=True) == ["[::]:1"]
    assert distinct(*texts, dual_stack=False) == ["0.0.0.0:1", "[::]:1"]
    assert distinct("127.0.0.1:2", "[::]:1") == ["127.0.0.1:2", "[::]:1"]


def test_a_port_that_is_chosen_is_covered_by_nothing() -> None:
    texts = ("0.0.0.0:0", "127.0.0.1:0", "[::]:0", "[::1]:0")
    assert distinct(*texts) == list(texts)


class OfOneKind(socket.socket):
    """A socket that says of itself what the test wants."""

    says = 0
    error: OSError | None = None

    def getsockopt(self, *_: object) -> int:  # type: ignore[override]
        if self.error is not None:
            raise self.error
        return self.says


@pytest.mark.parametrize(("only_v6", "dual"), [(0, True), (1, False)])
def test_the_machine_says_whether_it_is_dual_stack(
    only_v6: int, dual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OfOneKind, "says", only_v6)
    monkeypatch.setattr("cmux_proxy.server.listener.socket.socket", OfOneKind)
    assert is_dual_stack() is dual


def test_a_machine_without_ipv6_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OfOneKind, "error", OSError(errno.EAFNOSUPPORT, "no"))
    monkeypatch.setattr("cmux_proxy.server.listener.socket.socket", OfOneKind)
    assert not is_dual_stack()
    monkeypatch.setattr("cmux_proxy.server.listener.socket.has_ipv6", False)
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
    assert caught.value.reason == "the address is in use by another program"
    bind([Address("127.0.0.1", free)])[0].close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EADDRINUSE, ""), "the address is in use by another program"),
        (OSError(errno.EACCES, ""), "permission denied; ports below 1024 need privileges"),
        (OSError(errno.EADDRNOTAVAIL, ""), "the address is not one of this machine's"),
        (OSError(errno.EMFILE, ""), os.strerror(errno.EMFILE)),
        (OSError("odd"), "odd"),
    ],
)
def test_a_failure_is_told_with_its_reason(
    error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unbindable(socket.socket):
        def bind(self, address: object, /) -> None:
            raise error

    monkeypatch.setattr("cmux_proxy.server.listener.socket.socket", Unbindable)
    with pytest.raises(ListenError) as caught:
        bind([LOCAL])
    assert str(caught.value) == f"cannot listen on 127.0.0.1:0: {reason}"


def test_no_socket_at_all_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(listening, "is_dual_stack", lambda: True)
    monkeypatch.setattr("cmux_proxy.server.listener.socket.socket", no_socket)
    with pytest.raises(ListenError) as caught:
        bind([LOCAL])
    assert caught.value.reason == os.strerror(errno.EMFILE)


# For several workers


def shared(workers: int, *addresses: Address) -> list[list[socket.socket]]:
    return bind_shared(addresses or [LOCAL], workers)


@contextmanager
def closing(groups: list[list[socket.socket]]) -> Iterator[None]:
    try:
        yield
    finally:
        for sock in {sock for group in groups for sock in group}:
            sock.close()


def test_every_worker_has_a_socket_of_its_own_on_every_address() -> None:
    groups = shared(3, LOCAL, Address("127.0.0.2", 0))
    with closing(groups):
        places = [[sock.getsockname() for sock in group] for group in groups]
        assert [host for host, _port in places[0]] == ["127.0.0.1", "127.0.0.2"]
        assert places == [places[0]] * 3
        assert len({sock.fileno() for group in groups for sock in group}) == 6
        for sock in (sock for group in groups for sock in group):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not sock.getblocking()
            assert not sock.get_inheritable()


def test_connections_are_spread_over_the_workers() -> None:
    groups = shared(2)
    with closing(groups), ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(groups[0][0].getsockname()))
        shares = [accepted(group[0]) for group in groups]
        assert sum(shares) == 64
        assert min(shares) >= 12


def accepted(sock: socket.socket) -> int:
    """Return how many connections were waiting."""
    for count in range(1000):
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
    raise AssertionError


def test_where_the_system_does_not_spread_all_workers_have_the_same_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_SPREADS", False)
    groups = shared(3)
    with closing(groups):
        assert groups == [groups[0]] * 3
        assert not groups[0][0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


@pytest.mark.parametrize("workers", [1, 2])
def test_shared_addresses_are_in_use_for_everybody_else(workers: int) -> None:
    groups = shared(2)
    with closing(groups):
        with pytest.raises(ListenError) as caught:
            shared(workers, bound_address(groups[0][0]))
        assert caught.value.reason == "the address is in use by another program"


def test_what_somebody_else_is_willing_to_share_is_in_use_nevertheless() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ListenError):
            shared(2, bound_address(other))


def test_a_worker_without_sockets_frees_those_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []

    class Scarce(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            if len(made) == 3:
                raise OSError(errno.EMFILE, "")
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("cmux_proxy.server.listener.socket.socket", Scarce)
    with pytest.raises(ListenError) as caught:
        bind_shared([LOCAL], 4)
    assert caught.value.reason == os.strerror(errno.EMFILE)
    assert [sock.fileno() for sock in made] == [-1] * 3


def test_sockets_of_somebody_else_get_the_options_of_our_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert adopt([sock]) == [sock]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()


# Accepting


class Stub:
    """An acceptor that only remembers what was asked of it."""

    def __init__(self, calls: list[str], failures: list[OSError]) -> None:
        self.calls = calls
        self.failures = failures

    async def start(self) -> None:
        self.calls.append("start")
        if self.failures:
            raise self.failures.pop()

    def stop(self) -> None:
        self.calls.append("stop")

    def finish(self) -> None:
        self.calls.append("finish")


def arrivals(factory: Factory) -> Arrivals:
    return Arrivals(asyncio.get_running_loop(), factory, lambda _coming: True)


class Stubs:
    """A listener over two stubs, and what it asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.failures: list[OSError] = []

        def stub(_arrivals: object, _sock: object, _bursts: bool) -> Stub:
            return Stub(self.calls, self.failures)

        monkeypatch.setattr(listening, "acceptor", stub)
        self.sockets = [socket.socket(), socket.socket()]
        self.listener = Listener(arrivals(asyncio.Protocol), self.sockets, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def taken(self) -> list[str]:
        calls = list(self.calls)
        self.calls.clear()
        return calls


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_accepting_starts_on_every_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        await stubs.listener.start()
        assert stubs.taken() == ["start", "start"]


async def test_pausing_and_resuming_twice_is_doing_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        await stubs.listener.start()
        stubs.listener.resume()
        await turns()
        assert stubs.taken() == ["start", "start"]
        stubs.listener.pause()
        stubs.listener.pause()
        assert stubs.taken() == ["stop", "stop"]
        stubs.listener.resume()
        stubs.listener.resume()
        await turns()
        assert stubs.taken() == ["start", "start"]


async def test_a_pause_overtakes_a_resumption_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        stubs.listener.resume()
        stubs.listener.pause()
        await turns()
        assert stubs.taken() == ["stop", "stop"]


async def test_resuming_without_descriptors_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        monkeypatch.setattr(listening, "_RETRY_AFTER", 0.0)
        stubs.failures.append(OSError(errno.EMFILE, ""))
        stubs.listener.resume()
        await turns(10)
        assert stubs.taken() == ["start", "stop", "stop", "start", "start"]


async def test_a_pause_calls_a_later_attempt_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        monkeypatch.setattr(listening, "_RETRY_AFTER", 0.0)
        stubs.failures.append(OSError(errno.EMFILE, ""))
        stubs.listener.resume()
        await turns(1)
        assert stubs.taken() == ["start", "stop", "stop"]
        stubs.listener.pause()
        await turns(10)
        assert "start" not in stubs.taken()


async def test_a_closed_listener_is_not_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        await stubs.listener.start()
        stubs.listener.close()
        stubs.listener.close()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        stubs.listener.resume()
        await turns()
        assert stubs.taken() == ["start", "start", "stop", "stop"]


async def test_a_finish_takes_who_waits_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stubs(monkeypatch) as stubs:
        await stubs.listener.start()
        stubs.listener.finish()
        stubs.listener.finish()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        assert stubs.taken() == ["start", "start", "finish", "finish", "stop", "stop"]


async def test_a_finish_while_there_is_no_room_takes_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stubs(monkeypatch) as stubs:
        await stubs.listener.start()
        stubs.listener.pause()
        stubs.listener.finish()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        assert stubs.taken() == ["start", "start", "stop", "stop"]


async def test_a_paused_listener_leaves_connections_in_the_queue() -> None:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.put_nowait(transport)

    with bound_sockets() as sockets, socket.socket() as client:
        listener = Listener(arrivals(Accepted), sockets, True)
        await listener.start()
        listener.pause()
        client.setblocking(False)
        await loop.sock_connect(client, sockets[0].getsockname())
        await turns(20)
        assert accepted.empty()
        listener.resume()
        transport = await accepted.get()
        assert transport.get_extra_info("peername") == client.getsockname()
        transport.close()
        listener.close()
        await turns(10)


async def test_closing_frees_the_address() -> None:
    with bound_sockets() as sockets:
        address = bound_address(sockets[0])
        listener = Listener(arrivals(asyncio.Protocol), sockets, True)
        await listener.start()
        listener.close()
        await turns()
        bind([address])[0].close()
