"""Accepting that can pause, and ends."""

import asyncio
import errno
import socket
from typing import Self

import pytest

from cmux_proxy.net.acceptor import AcceptedConnections, Factory
from cmux_proxy.server import listener as listening
from cmux_proxy.server.binding import bind, bound_address
from cmux_proxy.server.listener import Listener
from tests.helpers.bound import bound_sockets


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


def arrivals(factory: Factory) -> AcceptedConnections:
    return AcceptedConnections(asyncio.get_running_loop(), factory, lambda _coming: True)


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
