"""A dial: what it reports to its owner, and that nothing is left behind."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from cmux_proxy._build import COMPILED
from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.asyncio_backend import is_asyncio
from cmux_proxy.net.backends import AsyncioBackend
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import Loop
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.pool import Pool
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import WireListener, closed_port, deaf_port

READ = 256 * 1024
pytestmark = pytest.mark.skipif(
    COMPILED, reason="the compiled queue takes compiled owners alone; tests/network dials with them"
)


class Owner:
    """Keeps its connections and errors, and ignores what happens to the connections."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.upstream_connected = self.events.put_nowait
        self.upstream_unavailable = self.events.put_nowait

    def upstream_ended(self) -> None: ...

    def upstream_lost(self, error: Exception | None) -> None: ...


class Wrapping:
    """The running loop; calls a function before it makes a connection of a socket."""

    def __init__(self, before: Callable[[], object]) -> None:
        self._before = before
        self.sock: socket.socket | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    async def create_connection(self, factory: Any, *, sock: Any) -> Any:
        self.sock = sock
        try:
            self._before()
        except Exception:
            sock.close()
            raise
        return await asyncio.get_running_loop().create_connection(factory, sock=sock)


def read_size() -> ReadSize:
    return ReadSize(is_asyncio(asyncio.get_running_loop()), READ)


class Waiting:
    """A request that waits for a connection, and the dial that has started for it."""

    def __init__(self, wrapping: Wrapping, target: Target, owner: Owner) -> None:
        loop = cast(Loop, wrapping)
        connector = Connector(loop, False, lambda *_: False)
        factory = DialFactory(
            AsyncioBackend(loop),
            Pool(1, 1.0),
            connector,
            ReadSize(is_asyncio(asyncio.get_running_loop()), READ),
            SOON,
        )
        self.dialer = Dialer(factory)
        self.waiter = self.dialer.wait(target, cast(UpstreamOwner, owner))

    def leave(self) -> None:
        self.dialer.cancel(self.waiter)


async def until_idle() -> None:
    """Wait until all dials have ended."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await soon(asyncio.wait(tasks))


def start(target: Target, owner: Owner, before: Callable[[], object] = lambda: None) -> Waiting:
    return Waiting(Wrapping(before), target, owner)


async def test_a_dial_that_succeeds_hands_the_connection_to_its_owner() -> None:
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        start(target, owner)
        with await soon(listener.accept()) as upstream:
            connection = await soon(owner.events.get())
            assert connection.target == target
            connection.transport.write(b"hello")
            assert await soon(upstream.receive()) == b"hello"
            connection.transport.close()
            assert await soon(upstream.receive()) == b""


async def test_a_connection_knows_how_long_its_own_attempt_took() -> None:
    class RefusingOnce(Connector):
        outcomes = iter([UpstreamUnavailable(UnavailableReason.REFUSED, "no"), None])

        async def open_socket(self, target: Target, timeout: float | None = None) -> socket.socket:
            outcome = next(self.outcomes)
            if outcome is not None:
                raise outcome
            return await super().open_socket(target, timeout)

    # The first attempt starts and is refused, the second starts and succeeds.
    clock = iter([10.0, 20.0, 20.5]).__next__
    loop = asyncio.get_running_loop()
    connector = RefusingOnce(loop, False, lambda *_: False)
    pool: Pool[UpstreamConnection] = Pool(1, 1.0)
    factory = DialFactory(
        AsyncioBackend(loop),
        pool,
        connector,
        ReadSize(is_asyncio(asyncio.get_running_loop()), READ),
        SOON,
        clock=clock,
    )
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        Dialer(factory).wait(target, cast(UpstreamOwner, owner), retry_seconds=SOON)
        with await soon(listener.accept()):
            connection = await soon(owner.events.get())
            assert connection.connect_seconds == 0.5
            connection.transport.close()


async def test_a_dial_that_fails_reports_the_reason() -> None:
    owner = Owner()
    with closed_port() as port:
        start(Target("127.0.0.1", port), owner)
        error = await soon(owner.events.get())
    assert (type(error), error.reason) == (UpstreamUnavailable, UnavailableReason.REFUSED)


async def test_a_dial_whose_socket_cannot_be_used_reports_the_reason() -> None:
    def fails() -> None:
        raise OSError(errno.ENOBUFS, "")

    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        start(Target("127.0.0.1", listener.port), owner, fails)
        assert (await soon(owner.events.get())).reason is UnavailableReason.RESOURCE_LIMIT


async def test_a_connection_that_is_lost_before_its_dial_is_over_is_not_closed_twice() -> None:
    """Such as that of a tunnel, whose end is not reported to the connection itself."""

    class Losing(Owner):
        def __init__(self) -> None:
            super().__init__()
            self.upstream_connected = self.lose

        def lose(self, item: Any) -> None:
            item.transport.abort()

    owner = Losing()
    wrapping = Wrapping(lambda: None)
    with contextlib.closing(WireListener()) as listener:
        Waiting(wrapping, Target("127.0.0.1", listener.port), owner)
        await until_idle()
    # Its number may be another connection's by now.
    assert wrapping.sock is not None
    assert wrapping.sock.fileno() == -1


async def test_the_dial_of_a_request_that_is_cancelled_reports_nothing() -> None:
    owner = Owner()
    async with deaf_port() as port:
        waiting = start(Target("127.0.0.1", port), owner)
        await asyncio.sleep(0)
        waiting.leave()
        waiting.leave()
        await until_idle()
    assert owner.events.empty()


async def test_a_connection_for_which_no_request_waits_any_more_is_closed() -> None:
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        waiting = start(target, owner, lambda: waiting.leave())
        with await soon(listener.accept()) as upstream:
            assert await soon(upstream.receive()) == b""
    assert owner.events.empty()


async def test_a_dialer_that_closes_cancels_its_dials() -> None:
    async with deaf_port() as port:
        waiting = start(Target("127.0.0.1", port), Owner())
        await asyncio.sleep(0)
        waiting.leave()
        waiting.dialer.close()
        with contextlib.closing(WireListener()) as listener:
            owner = Owner()
            target = Target("127.0.0.1", listener.port)

            def ends() -> None:
                other.leave()
                other.dialer.close()

            other = start(target, owner, ends)
            with await soon(listener.accept()) as upstream:
                assert await soon(upstream.receive()) == b""


def test_a_defect_in_a_dial_is_reported_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such as a holder that does not speak JSON, or another error that is not foreseen."""

    async def main() -> None:
        def fails() -> None:
            raise ValueError("not foreseen")

        owner = Owner()
        with contextlib.closing(WireListener()) as listener:
            start(Target("127.0.0.1", listener.port), owner, fails)
            error = await soon(owner.events.get())
        assert error.reason is UnavailableReason.TERMINATED

    asyncio.run(main())
    [line] = [record for record in caplog.records if record.name == "cmux_proxy"]
    assert line.getMessage() == f"defect: {line.args[0]} could not be dialled"  # type: ignore[index]
    assert line.exc_info is not None
