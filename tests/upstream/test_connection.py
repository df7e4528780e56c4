"""One connection: how it comes about, what ends it while it is idle, and what its owner is told."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream import dial
from cmux_proxy.upstream.addresses import Addresses
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.dial import Dial, Dialer
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.reading import ReadSize
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener, closed_port, deaf_port

READ = 256 * 1024


class Both:
    """A connection to an upstream, and the upstream's end of it."""

    def __init__(self, connection: UpstreamConnection, upstream: Wire) -> None:
        self.connection = connection
        self.upstream = upstream

    async def ends(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert await soon(self.upstream.receive()) == b""


@contextlib.asynccontextmanager
async def connected(pool: Pool[UpstreamConnection]) -> AsyncIterator[Both]:
    """Connect to an upstream; nobody owns the connection."""
    loop = asyncio.get_running_loop()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        connection = UpstreamConnection(target, pool, ReadSize(loop, READ))
        await loop.create_connection(
            lambda: cast(asyncio.BaseProtocol, connection), "127.0.0.1", listener.port
        )
        with await soon(listener.accept()) as upstream:
            try:
                yield Both(connection, upstream)
            finally:
                connection.abort()
                await until(lambda: not connection.is_open)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while True:
            if is_so():
                return
            await asyncio.sleep(0)


async def test_no_more_than_one_write_is_held_back() -> None:
    async with connected(Pool(1, 1, 1.0)) as both:
        assert both.connection.transport.get_write_buffer_limits() == (0, 0)


# In the pool


async def test_a_connection_that_is_released_is_kept_and_known_to_have_served() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1, 1.0)
    async with connected(pool) as both:
        both.connection.owner = UpstreamOwner()
        both.connection.release(7.0)
        assert both.connection.has_served
        assert both.connection.idle_since == 7.0
        assert pool.lease(both.connection.target) is both.connection
        assert both.connection.is_open


async def test_a_connection_that_the_pool_has_no_room_for_is_closed() -> None:
    pool: Pool[UpstreamConnection] = Pool(0, 0, 1.0)
    async with connected(pool) as both:
        both.connection.release(0.0)
        await both.ends()


async def test_a_connection_that_has_closed_is_not_kept_nor_read_from() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1, 1.0)
    async with connected(pool) as both:
        both.connection.abort()
        await until(lambda: not both.connection.is_open)
        both.connection.set_reading(False)
        both.connection.set_reading(True)
        both.connection.release(0.0)
        assert len(pool) == 0


@pytest.mark.parametrize("how", ["speaks", "ends", "closes", "resets"])
async def test_whatever_happens_on_an_idle_connection_ends_it(how: str) -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1, 1.0)
    async with connected(pool) as both:
        both.connection.release(0.0)
        assert len(pool) == 1
        if how == "speaks":
            await both.upstream.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        elif how == "ends":
            both.upstream.end()
        elif how == "closes":
            both.upstream.close()
        else:
            both.upstream.reset()
        await until(lambda: not both.connection.is_open)
        assert len(pool) == 0


# Reading


async def test_what_arrives_while_nobody_reads_is_read_on_release() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1, 1.0)
    async with connected(pool) as both:
        both.connection.owner = UpstreamOwner()
        both.connection.set_reading(False)
        both.connection.set_reading(False)
        # The owner would raise if it were told of this.
        await both.upstream.send(b"nobody asked for this")
        for _ in range(20):
            await asyncio.sleep(0)
        both.connection.release(0.0)
        await both.ends()
        assert len(pool) == 0


# With an owner


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_owner_that_closes_its_connection_is_told_no_more(how: str) -> None:
    async with connected(Pool(1, 1, 1.0)) as both:
        # This owner raises whatever it is told.
        both.connection.owner = UpstreamOwner()
        getattr(both.connection, how)()
        await both.ends()
        await until(lambda: not both.connection.is_open)


# From the dial on


class Owner:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.upstream_connected = self.told.put_nowait
        self.upstream_unavailable = self.told.put_nowait


class Dialled(asyncio.Protocol):
    """Stands in for UpstreamConnection, which takes no owner of a test's in the compiled build."""

    owner: Owner
    is_open = True

    def __init__(self, target: Target, _pool: object, _read_size: object) -> None:
        self.target = target
        self.is_counted = False

    def count(self) -> bool:
        self.is_counted = True
        return True

    def uncount(self) -> None:
        self.is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.owner.upstream_connected(self)


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
        except OSError:
            sock.close()
            raise
        return await asyncio.get_running_loop().create_connection(factory, sock=sock)


def start(target: Target, owner: Owner, happens: Callable[[], object] = lambda: None) -> Dial:
    return start_in(Wrapping(happens), target, owner)


def start_in(wrapping: Wrapping, target: Target, owner: Owner) -> Dial:
    loop = cast(asyncio.AbstractEventLoop, wrapping)
    addresses = Addresses(loop, SOON, False, lambda *_: False)
    dialer = Dialer(loop, Pool(1, 1, 1.0), addresses, ReadSize(loop, READ))
    return dialer.start(target, cast(UpstreamOwner, owner))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "UpstreamConnection", Dialled)


async def test_a_dial_that_succeeds_hands_the_connection_to_its_owner() -> None:
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        start(target, owner)
        with await soon(listener.accept()) as upstream:
            connection = await soon(owner.told.get())
            assert connection.target == target
            connection.transport.write(b"hello")
            assert await soon(upstream.receive()) == b"hello"
            connection.transport.close()
            assert await soon(upstream.receive()) == b""


async def test_a_connection_knows_how_long_the_attempt_took_that_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first attempt begins and is refused, the second begins and succeeds.
    monkeypatch.setattr(dial, "monotonic", iter([10.0, 20.0, 20.5]).__next__)
    loop = asyncio.get_running_loop()
    addresses = Addresses(loop, SOON, False, lambda *_: False)
    open_socket = Addresses.open_socket
    outcomes = iter([UpstreamUnavailable(502, "no", "connection_refused"), None])

    async def refuses_once(self: Addresses, target: Target) -> socket.socket:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return await open_socket(self, target)

    monkeypatch.setattr(Addresses, "open_socket", refuses_once)
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        dialer = Dialer(loop, Pool(1, 1, 1.0), addresses, ReadSize(loop, READ))
        dialer.start(Target("127.0.0.1", listener.port), cast(UpstreamOwner, owner), SOON)
        with await soon(listener.accept()):
            connection = await soon(owner.told.get())
            assert connection.dialled_for == 0.5
            connection.transport.close()


async def test_a_dial_that_fails_tells_its_owner_why() -> None:
    owner = Owner()
    with closed_port() as port:
        start(Target("127.0.0.1", port), owner)
        error = await soon(owner.told.get())
    assert (type(error), error.error) == (UpstreamUnavailable, "connection_refused")


async def test_a_dial_whose_socket_cannot_be_used_tells_its_owner_why() -> None:
    def fails() -> None:
        raise OSError(errno.ENOBUFS, "")

    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        start(Target("127.0.0.1", listener.port), owner, fails)
        assert (await soon(owner.told.get())).error == "connection_limit_reached"


async def test_a_connection_that_is_lost_before_its_dial_is_over_is_not_closed_twice() -> None:
    """As that of a tunnel, of whose end the connection itself is not told."""

    class Losing(Owner):
        def __init__(self) -> None:
            super().__init__()
            self.upstream_connected = self.lose

        def lose(self, item: Any) -> None:
            item.transport.abort()

    owner = Losing()
    wrapping = Wrapping(lambda: None)
    with contextlib.closing(WireListener()) as listener:
        task = start_in(wrapping, Target("127.0.0.1", listener.port), owner)._task
        assert task is not None
        await soon(task)
    # Its number may be another connection's by now.
    assert wrapping.sock is not None
    assert wrapping.sock.fileno() == -1


async def test_a_dial_that_is_abandoned_tells_nobody() -> None:
    owner = Owner()
    async with deaf_port() as port:
        dialling = start(Target("127.0.0.1", port), owner)
        task = dialling._task
        assert task is not None
        await asyncio.sleep(0)
        dialling.abandon()
        dialling.abandon()
        with pytest.raises(asyncio.CancelledError):
            await soon(task)
    assert owner.told.empty()


async def test_a_dial_that_is_abandoned_when_its_socket_is_connected_hands_it_over() -> None:
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        dialling = start(target, owner, lambda: dialling.abandon())
        connection = await soon(owner.told.get())
        connection.transport.close()
        with await soon(listener.accept()) as upstream:
            assert await soon(upstream.receive()) == b""
