"""Accepting on several sockets: start, pause, resume, finish and close."""

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Self

from cmux_proxy.net.acceptor import Acceptor, Factory
from cmux_proxy.net.backends import AsyncioBackend
from cmux_proxy.server.binding import bind, bound_address
from cmux_proxy.server.listener import Listener
from tests.helpers.bound import bound_sockets


class Stub:
    """An acceptor that only records calls."""

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


def acceptors(factory: Factory, sockets: Sequence[socket.socket]) -> list[Acceptor]:
    backend = AsyncioBackend(asyncio.get_running_loop())
    return backend.make_acceptors(sockets, factory, lambda _pending: True, True)


class Stubs:
    """A listener over two stubs, and its calls to them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: list[OSError] = []
        self.sockets = [socket.socket(), socket.socket()]
        self.listener = Listener(
            [Stub(self.calls, self.failures) for _ in range(2)],
            self.sockets,
            retry_delay=0.0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def take_calls(self) -> list[str]:
        calls = list(self.calls)
        self.calls.clear()
        return calls


async def iterations(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_accepting_starts_on_every_socket() -> None:
    with Stubs() as stubs:
        await stubs.listener.start()
        assert stubs.take_calls() == ["start", "start"]


async def test_pausing_and_resuming_are_idempotent() -> None:
    with Stubs() as stubs:
        await stubs.listener.start()
        stubs.listener.resume()
        await iterations()
        assert stubs.take_calls() == ["start", "start"]
        stubs.listener.pause()
        stubs.listener.pause()
        assert stubs.take_calls() == ["stop", "stop"]
        stubs.listener.resume()
        stubs.listener.resume()
        await iterations()
        assert stubs.take_calls() == ["start", "start"]


async def test_a_pause_cancels_a_running_resumption() -> None:
    with Stubs() as stubs:
        stubs.listener.resume()
        stubs.listener.pause()
        await iterations()
        assert stubs.take_calls() == ["stop", "stop"]


async def test_resuming_is_retried_where_no_descriptor_is_left() -> None:
    with Stubs() as stubs:
        stubs.failures.append(OSError(errno.EMFILE, ""))
        stubs.listener.resume()
        await iterations(10)
        assert stubs.take_calls() == ["start", "stop", "stop", "start", "start"]


async def test_a_pause_cancels_the_retry() -> None:
    with Stubs() as stubs:
        stubs.failures.append(OSError(errno.EMFILE, ""))
        stubs.listener.resume()
        await iterations(1)
        assert stubs.take_calls() == ["start", "stop", "stop"]
        stubs.listener.pause()
        await iterations(10)
        assert "start" not in stubs.take_calls()


async def test_a_closed_listener_is_not_resumed() -> None:
    with Stubs() as stubs:
        await stubs.listener.start()
        stubs.listener.close()
        stubs.listener.close()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        stubs.listener.resume()
        await iterations()
        assert stubs.take_calls() == ["start", "start", "stop", "stop"]


async def test_finish_accepts_the_backlog_and_closes() -> None:
    with Stubs() as stubs:
        await stubs.listener.start()
        stubs.listener.finish()
        stubs.listener.finish()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        assert stubs.take_calls() == ["start", "start", "finish", "finish", "stop", "stop"]


async def test_finish_accepts_nothing_while_paused() -> None:
    with Stubs() as stubs:
        await stubs.listener.start()
        stubs.listener.pause()
        stubs.listener.finish()
        assert [sock.fileno() for sock in stubs.sockets] == [-1, -1]
        assert stubs.take_calls() == ["start", "start", "stop", "stop"]


async def test_a_paused_listener_leaves_connections_in_the_backlog() -> None:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.put_nowait(transport)

    with bound_sockets() as sockets, socket.socket() as client:
        listener = Listener(acceptors(Accepted, sockets), sockets)
        await listener.start()
        listener.pause()
        client.setblocking(False)
        await loop.sock_connect(client, sockets[0].getsockname())
        await iterations(20)
        assert accepted.empty()
        listener.resume()
        transport = await accepted.get()
        assert transport.get_extra_info("peername") == client.getsockname()
        transport.close()
        listener.close()
        await iterations(10)


async def test_closing_frees_the_address() -> None:
    with bound_sockets() as sockets:
        address = bound_address(sockets[0])
        listener = Listener(acceptors(asyncio.Protocol, sockets), sockets)
        await listener.start()
        listener.close()
        await iterations()
        bind([address])[0].close()
