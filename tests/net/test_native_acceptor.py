"""Accepting as native streams: room, backlog, failures, and who the peer is."""

import asyncio
import contextlib
import os
import resource
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.config.address import Address
from cmux_proxy.net.acceptor import Acceptor
from cmux_proxy.net.native_backend import RetryingAcceptor
from cmux_proxy.server.binding import bind
from tests.helpers.loops import FACTORIES
from tests.helpers.native import (
    HOSTINGS,
    Recorder,
    Streams,
    arrive,
    await_events,
    turns,
    watched_events,
)
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire

__all__ = ["HOSTINGS"]

LOCAL = Address("127.0.0.1", 0)


class Accepting:
    """An acceptor of one listening socket; `owners` are those of the accepted streams."""

    acceptor: Acceptor

    def __init__(self, streams: Streams, address: Address = LOCAL, delay: float = 3600.0) -> None:
        (self.sock,) = bind([address])
        self.address = self.sock.getsockname()
        self.owners: list[Recorder] = []
        self.asked = 0
        self.room = 1_000_000
        self.on_made: Callable[[Recorder], object] = lambda _owner: None
        # What is raised once, by the callback of that name.
        self.errors: dict[str, BaseException] = {}
        self._changed = asyncio.Event()
        self.acceptor = RetryingAcceptor(
            asyncio.get_running_loop(),
            streams.reactor,
            self.sock,
            self.make_owner,
            self.has_room,
            delay,
        )

    def has_room(self, pending: int) -> bool:
        assert pending == 0
        self._raise("has_room")
        self.asked += 1
        self._changed.set()
        return len(self.owners) < self.room

    def make_owner(self) -> Recorder:
        self._raise("factory")
        owner = Recorder()
        owner.on["connection_made"] = lambda: self._add(owner)
        return owner

    def _raise(self, name: str) -> None:
        if name in self.errors:
            raise self.errors.pop(name)

    def _add(self, owner: Recorder) -> None:
        self.owners.append(owner)
        self._changed.set()
        self.on_made(owner)
        self._raise("connection_made")

    async def until(self, count: int) -> None:
        """Wait until so many are accepted."""
        await self._wait(lambda: len(self.owners) >= count)
        assert len(self.owners) == count

    async def until_asked(self, times: int) -> None:
        """Wait until the acceptor has tried so many times."""
        await self._wait(lambda: self.asked >= times)

    async def _wait(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            self._changed.clear()
            await soon(self._changed.wait())


@contextlib.asynccontextmanager
async def accepting(address: Address = LOCAL, delay: float = 3600.0) -> AsyncIterator[Accepting]:
    """Make an acceptor, not started yet."""
    async with Streams() as streams:
        made = Accepting(streams, address, delay)
        try:
            yield made
        finally:
            made.acceptor.stop()
            for owner in made.owners:
                owner.stream.abort()
                await owner.lost()
            made.sock.close()


async def connect(stack: contextlib.ExitStack, made: Accepting, count: int = 1) -> list[Wire]:
    return [stack.enter_context(await Wire.to(*made.address[:2])) for _ in range(count)]


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Make every system call fail that needs another descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_is_accepted_with_the_address_of_its_peer(host: str) -> None:
    async with accepting(Address(host, 0)) as made:
        await made.acceptor.start()
        await made.acceptor.start()
        with contextlib.ExitStack() as stack:
            (wire,) = await connect(stack, made)
            await made.until(1)
            (owner,) = made.owners
            assert owner.stream.get_extra_info("peername") == wire.sock.getsockname()[:2]
            await wire.send(b"hello")
            await owner.receives(b"hello")
            owner.stream.write(b"welcome")
            assert await soon(wire.receive()) == b"welcome"
            assert not os.get_inheritable(owner.stream.get_extra_info("socket").fileno())


async def test_a_unix_socket_is_accepted_from_and_its_peer_has_no_name(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with accepting(Address("", 0, path)) as made:
        await made.acceptor.start()
        with await Wire.to_path(path) as wire:
            await made.until(1)
            (owner,) = made.owners
            assert owner.stream.get_extra_info("peername", "none") == "none"
            await wire.send(b"hello")
            await owner.receives(b"hello")
            assert owner.stream.get_extra_info("socket").family == socket.AF_UNIX


async def test_a_stopped_acceptor_leaves_connections_in_the_backlog() -> None:
    async with accepting() as made:
        await made.acceptor.start()
        made.acceptor.stop()
        made.acceptor.stop()
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 3)
            await turns()
            assert not made.owners
            await made.acceptor.start()
            await made.until(3)


async def test_a_finish_accepts_the_backlog_and_nothing_later_room_or_not() -> None:
    async with accepting() as made:
        made.room = 0
        await made.acceptor.start()
        made.acceptor.stop()
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 100)
            made.acceptor.finish()
            assert len(made.owners) == 100
            await connect(stack, made)
            await turns()
            assert len(made.owners) == 100


async def test_room_is_asked_for_before_each_connection() -> None:
    async with accepting(delay=1 * MS) as made:
        made.room = 3
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 10)
            await made.acceptor.start()
            await made.until(3)
            await turns()
            assert len(made.owners) == 3
            made.room = 5
            await made.until(5)


async def test_without_room_an_acceptor_stops_and_does_not_spin() -> None:
    async with accepting() as made:
        made.room = 3
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 10)
            await made.acceptor.start()
            await made.until_asked(4)
            await turns(100)
            assert made.asked == 4
            assert watched_events(made.sock.fileno()) is None
            made.room = 5
            await made.acceptor.start()
            await made.until(5)


async def test_an_acceptor_that_is_stopped_by_a_connection_accepts_no_other() -> None:
    async with accepting() as made:
        made.on_made = lambda _owner: made.acceptor.stop()
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 10)
            await made.acceptor.start()
            await made.until(1)
            await turns()
            assert len(made.owners) == made.asked == 1


async def test_connections_that_exist_have_their_turn_while_many_are_accepted() -> None:
    async with Streams() as streams, accepting() as made:
        order: list[str] = []
        owner = await streams.open()
        owner.on["data_received"] = lambda: order.append("data")
        made.on_made = lambda _owner: order.append("made")
        with contextlib.ExitStack() as stack:
            await connect(stack, made, 200)
            await made.acceptor.start()
            arrive(owner, b"x")
            await made.until(200)
            assert order.index("data") <= 64


async def test_a_connection_that_is_accepted_in_the_batch_of_a_close_has_another_number() -> None:
    # One batch: a stream ends the next one, a connection is accepted, the ended stream has bytes.
    async with Streams() as streams, accepting() as made:
        first, second = await streams.open(), await streams.open()
        first.on["data_received"] = second.stream.abort
        await made.acceptor.start()
        with socket.socket() as client:
            arrive(first, b"x")
            knock(client, made)
            arrive(second, b"for nobody")
            client.send(b"for the third")
            await made.until(1)
            (third,) = made.owners
            await second.lost()
            await third.receives(b"for the third")
            assert third.stream.get_extra_info("socket").fileno() != second.fd
            assert second.calls == ["connection_made", "connection_lost"]


def knock(client: socket.socket, made: Accepting) -> None:
    """Connect without the need for a descriptor; when this returns, the acceptor has to accept."""
    client.connect(made.address)
    await_events(made.sock.fileno(), select.POLLIN)


async def test_without_a_descriptor_an_acceptor_stops_and_does_not_spin() -> None:
    async with accepting() as made:
        await made.acceptor.start()
        with socket.socket() as client:
            with no_descriptor_left():
                knock(client, made)
                await made.until_asked(1)
                await turns(100)
            assert made.asked == 1
            assert watched_events(made.sock.fileno()) is None
            assert not made.owners
            # It may be started by hand as well.
            await made.acceptor.start()
            await made.until(1)


async def test_an_acceptor_without_a_descriptor_starts_again_once_there_is_one() -> None:
    async with accepting(delay=1 * MS) as made:
        await made.acceptor.start()
        with socket.socket() as client:
            with no_descriptor_left():
                knock(client, made)
                await made.until_asked(3)
            assert not made.owners
            await made.until(1)


async def test_an_acceptor_that_cannot_even_start_again_tries_once_more() -> None:
    def fail() -> None:
        failures.append(made.asked)
        if len(failures) == 3:
            failed.set()
        retry_later()

    failures: list[int] = []
    failed = asyncio.Event()
    # epoll refuses a file, as it refuses a watch that it has no memory for.
    file = os.open(__file__, os.O_RDONLY)
    with socket.socket() as client:
        async with accepting(delay=1 * MS) as made:
            retry_later = made.acceptor._retry_later  # type: ignore[attr-defined]
            made.acceptor._retry_later = fail  # type: ignore[attr-defined]
            await made.acceptor.start()
            listener = made.sock.dup()
            with no_descriptor_left():
                knock(client, made)
                await made.until_asked(1)
                os.dup2(file, made.sock.fileno())
            await soon(failed.wait())
            # No attempt but the first one came as far as the question for room.
            assert failures == [1, 1, 1]
            assert not made.owners
            os.dup2(listener.fileno(), made.sock.fileno())
            os.close(file)
            listener.close()
            await made.until(1)


async def stays_stopped(made: Accepting) -> None:
    """Require that no attempt follows in three times the delay between two of them."""
    asked, passed = made.asked, asyncio.Event()
    asyncio.get_running_loop().call_later(3 * MS, passed.set)
    await soon(passed.wait())
    assert made.asked == asked
    assert not made.owners


async def test_a_stop_cancels_the_next_attempt() -> None:
    async with accepting(delay=1 * MS) as made:
        await made.acceptor.start()
        with socket.socket() as client:
            with no_descriptor_left():
                knock(client, made)
                await made.until_asked(1)
                made.acceptor.stop()
            await stays_stopped(made)


async def test_a_start_by_hand_is_stopped_too_although_an_attempt_was_due() -> None:
    async with accepting(delay=1 * MS) as made:
        await made.acceptor.start()
        with socket.socket() as client:
            with no_descriptor_left():
                knock(client, made)
                await made.until_asked(1)
                await made.acceptor.start()
                await made.until_asked(2)
                made.acceptor.stop()
            await stays_stopped(made)


async def test_a_finish_without_a_descriptor_gives_up() -> None:
    async with accepting() as made:
        await made.acceptor.start()
        with socket.socket() as client:
            with no_descriptor_left():
                knock(client, made)
                made.acceptor.finish()
            assert not made.owners


async def test_the_peer_of_a_connection_that_was_reset_before_it_was_accepted_is_known() -> None:
    async with accepting() as made:
        wire = await Wire.to(*made.address)
        own = wire.sock.getsockname()
        wire.reset()
        await made.acceptor.start()
        await made.until(1)
        (owner,) = made.owners
        await owner.lost()
        assert isinstance(owner.error, ConnectionResetError)
        assert owner.stream.get_extra_info("peername") == own


async def test_the_kernel_forgets_the_peer_that_has_reset_but_the_stream_does_not() -> None:
    def ask() -> None:
        with pytest.raises(OSError, match="not connected"):
            owner.stream.get_extra_info("socket").getpeername()
        names.append(owner.stream.get_extra_info("peername"))

    names: list[object] = []
    async with accepting() as made:
        await made.acceptor.start()
        wire = await Wire.to(*made.address)
        own = wire.sock.getsockname()
        await made.until(1)
        (owner,) = made.owners
        owner.on["connection_lost"] = ask
        wire.reset()
        await owner.lost()
        assert names == [own]


@pytest.mark.parametrize("where", ["factory", "connection_made", "has_room"])
async def test_an_error_for_one_connection_is_reported_and_others_are_accepted(where: str) -> None:
    refusal = LookupError("refused")
    contexts: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    async with accepting() as made:
        made.errors[where] = refusal
        await made.acceptor.start()
        with contextlib.ExitStack() as stack:
            (wire,) = await connect(stack, made)
            if where != "has_room":
                # It is closed, and not just forgotten.
                assert await soon(wire.receive()) == b""
            await connect(stack, made)
            await made.until(1 if where == "factory" else 2)
        assert [context["exception"] for context in contexts] == [refusal]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_comes_through_an_acceptor(
    loop_name: str, end: type[BaseException]
) -> None:
    async def prepare() -> Accepting:
        made = await stack.enter_async_context(accepting())
        made.errors["connection_made"] = end()
        return made

    async def trigger(made: Accepting) -> None:
        await made.acceptor.start()
        stack.enter_context(await Wire.to(*made.address))
        await turns()

    async def finish(made: Accepting) -> None:
        # The next one is accepted.
        stack.enter_context(await Wire.to(*made.address))
        await made.until(2)
        await stack.aclose()

    stack = contextlib.AsyncExitStack()
    loop = FACTORIES[loop_name]()
    made = loop.run_until_complete(prepare())
    with pytest.raises(end):
        loop.run_until_complete(trigger(made))
    loop.run_until_complete(finish(made))
    loop.close()


async def test_an_acceptor_that_the_kernel_does_not_watch_raises() -> None:
    # A regular file, which epoll refuses as it refuses a watch too many.
    fd = os.open(__file__, os.O_RDONLY)
    sock = SimpleNamespace(family=socket.AF_INET, fileno=lambda: fd, setblocking=lambda _flag: None)
    async with Streams() as streams:
        (acceptor,) = streams.backend.make_acceptors(
            [sock],  # type: ignore[list-item]
            Recorder,
            lambda _pending: True,
            True,
        )
        for _ in range(2):
            with pytest.raises(PermissionError):
                await acceptor.start()
        acceptor.stop()
    os.close(fd)
