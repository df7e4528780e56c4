"""Sockets that a holder passes over, and holders that do not."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cmux_proxy.isolation.messages import Message, receive, send
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.upstream.namespace_connect import connect_inside, may_be_isolated
from tests.helpers.timing import soon
from tests.helpers.wire import WireListener, closed_port

ADDRESS = "127.18.0.7"


class Holder:
    """Answers like one; its namespace is that of the test. `families` are those requested."""

    def __init__(self, listener: socket.socket) -> None:
        self.families: list[int] = []
        self._listener = listener
        listener.setblocking(False)

    async def answers(self, answer: Callable[[socket.socket, Message], None]) -> None:
        """Answer for as long as it is let."""
        loop = asyncio.get_running_loop()
        while True:
            channel, _ = await loop.sock_accept(self._listener)
            with channel:
                channel.setblocking(True)
                message = receive(channel)
                self.families.append(message.fields["family"])
                answer(channel, message)


def gives(channel: socket.socket, message: Message) -> None:
    with socket.socket(message.fields["family"]) as sock:
        send(channel, {}, [sock.fileno()])


def gives_ipv4_alone(channel: socket.socket, message: Message) -> None:
    if message.fields["family"] == socket.AF_INET:
        gives(channel, message)
    else:
        send(channel, {"error": "Address family not supported by protocol"})


def ends(_channel: socket.socket, _message: Message) -> None:
    pass


@contextlib.asynccontextmanager
async def keeping(answer: Callable[[socket.socket, Message], None]) -> AsyncIterator[Holder]:
    with Registry.open() as registry, registry.listen(ADDRESS) as listener:
        holder = Holder(listener)
        answering = asyncio.get_running_loop().create_task(holder.answers(answer))
        try:
            yield holder
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering


async def connected(port: int) -> tuple[str, int] | None:
    """Return whom a connection to a port of the workspace leads to."""
    sock = await soon(connect_inside(asyncio.get_running_loop(), ADDRESS, port))
    if sock is None:
        return None
    with sock:
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        host, port = sock.getpeername()[:2]
        return host, port


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.18.0.1", True), ("127.0.0.1", False), ("127.180.0.1", False), ("::1", False)],
)
def test_addresses_of_workspaces_have_a_prefix(host: str, is_one: bool) -> None:
    assert may_be_isolated(host) is is_one


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", ADDRESS])
async def test_both_loopbacks_and_the_address_are_tried_in_turn(registry: Path, host: str) -> None:
    order = [socket.AF_INET, socket.AF_INET6, socket.AF_INET]
    with contextlib.closing(WireListener(host)) as listener:
        async with keeping(gives) as holder:
            assert await connected(listener.port) == (host, listener.port)
            assert holder.families == order[: ["127.0.0.1", "::1", ADDRESS].index(host) + 1]


async def test_a_port_on_which_nothing_listens_refuses(registry: Path) -> None:
    with closed_port() as port:
        async with keeping(gives):
            with pytest.raises(ConnectionRefusedError):
                await connected(port)


async def test_a_namespace_may_be_without_ipv6(registry: Path) -> None:
    with contextlib.closing(WireListener(ADDRESS)) as listener:
        async with keeping(gives_ipv4_alone) as holder:
            assert await connected(listener.port) == (ADDRESS, listener.port)
            assert len(holder.families) == 3


async def test_without_a_directory_nothing_is_isolated(registry: Path) -> None:
    assert await connected(1) is None
    with pytest.raises(FileNotFoundError):
        os.stat(registry)


async def test_a_directory_that_others_may_change_is_not_used(registry: Path) -> None:
    async with keeping(gives) as holder:
        os.chmod(registry, 0o770)
        assert (await connected(1), holder.families) == (None, [])
        os.chmod(registry, 0o700)


async def test_without_a_holder_nothing_is_isolated(registry: Path) -> None:
    with Registry.open() as opened:
        opened.listen(ADDRESS).close()
        assert await connected(1) is None
        opened.remove(ADDRESS)
        assert await connected(1) is None


async def test_a_holder_that_ends_isolates_nothing_any_more(registry: Path) -> None:
    async with keeping(ends) as holder:
        assert (await connected(1), len(holder.families)) == (None, 1)


async def test_a_holder_with_a_full_backlog_is_tried_again(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        listener.listen(0)
        first = opened.connect(ADDRESS, 0)
        assert first is not None
        asking = asyncio.get_running_loop().create_task(connected(1))
        await asyncio.sleep(0)
        assert not asking.done()
        first.close()
        holder = Holder(listener)
        answering = asyncio.get_running_loop().create_task(holder.answers(ends))
        # The first one has said nothing, which ends the task.
        with pytest.raises(EOFError):
            await soon(answering)
        answering = asyncio.get_running_loop().create_task(holder.answers(ends))
        assert await soon(asking) is None
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering


async def test_a_cancelled_connect_leaves_nothing_open(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        asking = asyncio.get_running_loop().create_task(connected(1))
        listener.setblocking(False)
        channel, _ = await soon(asyncio.get_running_loop().sock_accept(listener))
        with channel:
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
