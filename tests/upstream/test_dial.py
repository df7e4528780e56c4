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
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream import dial
from cmux_proxy.upstream.connection import UpstreamOwner
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import Dial, DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.pool import Pool
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import WireListener, closed_port, deaf_port

READ = 256 * 1024
pytestmark = pytest.mark.skipif(
    COMPILED, reason="the compiled queue takes compiled owners alone; tests/network dials with them"
)


class Owner:
    """Keeps its connections and errors."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.upstream_connected = self.events.put_nowait
        self.upstream_unavailable = self.events.put_nowait


class Dialled(asyncio.Protocol):
    """Stands in for UpstreamConnection, which takes no owner of a test's in the compiled build."""

    owner: Owner
    is_open = True

    on_connected: Callable[[Any], None]

    def __init__(self, target: Target, _pool: object, _read_size: object) -> None:
        self.target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.on_connected(self)

    def close(self) -> None:
        self.transport.close()


class Wrapping:
    """The running loop; making a connection of a socket meets with what the test says."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens
        self.sock: socket.socket | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    async def create_connection(self, factory: Any, *, sock: Any) -> Any:
        self.sock = sock
        try:
            self._happens()
        except Exception:
            sock.close()
            raise
        return await asyncio.get_running_loop().create_connection(factory, sock=sock)


class Waiting:
    """A request that waits for a connection, and the dial that has started for it."""

    def __init__(
        self, wrapping: Wrapping, target: Target, owner: Owner, retry_seconds: float = 0.0
    ):
        loop = cast(asyncio.AbstractEventLoop, wrapping)
        addresses = Connector(loop, False, lambda *_: False)
        self.factory = Keeping(loop, Pool(1, 1.0), addresses, ReadSize(loop, READ), SOON)
        self.dialer = Dialer(self.factory)
        self.waiter = self.dialer.wait(target, cast(UpstreamOwner, owner), retry_seconds)

    def task(self) -> "asyncio.Task[None]":
        return cast("asyncio.Task[None]", self.factory.dials[-1]._task)

    def leave(self) -> None:
        self.dialer.cancel(self.waiter)


class Keeping(DialFactory):
    """Keeps the dials that have started."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dials: list[Dial] = []

    def start(self, *args: Any) -> Dial:
        self.dials.append(super().start(*args))
        return self.dials[-1]


def start(target: Target, owner: Owner, happens: Callable[[], object] = lambda: None) -> Waiting:
    return Waiting(Wrapping(happens), target, owner)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "UpstreamConnection", Dialled)


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


async def test_a_connection_knows_how_long_its_own_attempt_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first attempt begins and is refused, the second begins and succeeds.
    monkeypatch.setattr(dial, "monotonic", iter([10.0, 20.0, 20.5]).__next__)
    open_socket = Connector.open_socket
    outcomes = iter([UpstreamUnavailable(UnavailableReason.REFUSED, "no"), None])

    async def refuses_once(self: Connector, target: Target, timeout: float | None) -> socket.socket:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return await open_socket(self, target, timeout)

    monkeypatch.setattr(Connector, "open_socket", refuses_once)
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        Waiting(Wrapping(lambda: None), Target("127.0.0.1", listener.port), owner, SOON)
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
        await soon(Waiting(wrapping, Target("127.0.0.1", listener.port), owner).task())
    # Its number may be another connection's by now.
    assert wrapping.sock is not None
    assert wrapping.sock.fileno() == -1


async def test_the_dial_of_a_request_that_is_cancelled_reports_nothing() -> None:
    owner = Owner()
    async with deaf_port() as port:
        waiting = start(Target("127.0.0.1", port), owner)
        task = waiting.task()
        await asyncio.sleep(0)
        waiting.leave()
        waiting.leave()
        with pytest.raises(asyncio.CancelledError):
            await soon(task)
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
