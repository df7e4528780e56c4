"""One reactor for each loop, shared by its proxies: who opens it, and who closes it."""

import asyncio
import os
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net.backends import Backend, make_backend
from cmux_proxy.net.native_backend import NativeBackend
from tests.helpers.loops import FACTORIES, descriptors
from tests.helpers.native import HOSTINGS, Recorder, Streams, arrive, epolls, turns
from tests.helpers.sockets import pair
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

__all__ = ["HOSTINGS"]


def backend() -> Backend:
    return make_backend(asyncio.get_running_loop(), True)


async def test_a_nested_epoll_is_closed_with_the_last_proxy_of_its_loop(loop_name: str) -> None:
    before = epolls()
    first, second = backend(), backend()
    # The loop that leads has it anyway.
    assert len(epolls() - before) == (0 if loop_name == "native" else 1)
    async with Streams() as streams:
        owner = await streams.open()
        first.close()
        first.close()
        arrive(owner, b"still served")
        await owner.receives(b"still served")
    assert len(epolls() - before) == (0 if loop_name == "native" else 1)
    second.close()
    assert epolls() == before
    second.close()
    # And another one begins again.
    third = backend()
    async with Streams() as streams:
        owner = await streams.open()
        arrive(owner, b"hello")
        await owner.receives(b"hello")
    third.close()
    assert epolls() == before


async def test_proxies_share_the_reactor_of_their_loop() -> None:
    first, second = backend(), backend()
    assert isinstance(first, NativeBackend)
    assert isinstance(second, NativeBackend)
    assert first._open_reactor() is second._open_reactor()
    first.close()
    second.close()


async def test_the_number_of_an_epoll_that_is_closed_may_be_watched(loop_name: str) -> None:
    if loop_name == "native":
        pytest.skip("the loop has its epoll as long as it lives")
    made = backend()
    assert isinstance(made, NativeBackend)
    number = made._open_reactor().fileno()
    peer, ours = socket.socketpair()
    made.close()
    os.dup2(ours.fileno(), number)
    ours.close()
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(number, readable.set)
    peer.send(b"x")
    await soon(readable.wait())
    loop.remove_reader(number)
    os.close(number)
    peer.close()


async def test_the_last_proxy_aborts_what_is_left(loop_name: str) -> None:
    before = epolls()
    made = backend()
    owner = Recorder()
    with pair() as (peer, ours):
        owner.wire = Wire(peer)
        await made.open_stream(ours, owner)
        made.close()
        if loop_name == "native":
            # Until the loop closes; nothing else may use its connections.
            owner.stream.abort()
        await turns()
        assert owner.calls == ["connection_made", "connection_lost"]
        assert owner.error is None
        assert await owner.wire.receive() == b""
    assert epolls() == before


async def test_a_proxy_that_is_closed_opens_nothing() -> None:
    made = backend()
    made.close()
    with pair() as (_peer, ours):
        with pytest.raises(RuntimeError, match="the proxy is closed"):
            await made.open_stream(ours, Recorder())
        # It still belongs to the caller.
        assert ours.fileno() >= 0
        with pytest.raises(RuntimeError, match="the proxy is closed"):
            made.make_acceptors([ours], Recorder, lambda _pending: True, True)


async def test_a_socket_that_is_opened_as_a_stream_has_no_descriptor_any_more() -> None:
    made = backend()
    owner = Recorder()
    with pair() as (_peer, ours):
        assert ours.getblocking()
        await made.open_stream(ours, owner)
        assert ours.fileno() == -1
        assert not owner.stream.get_extra_info("socket").getblocking()
        owner.stream.abort()
        await owner.lost()
    made.close()


async def test_a_socket_of_which_no_stream_can_be_made_raises() -> None:
    def fail(_flag: bool) -> None:
        raise OSError("no such socket")

    made = backend()
    with pytest.raises(OSError, match="no such socket"):
        await made.open_stream(SimpleNamespace(setblocking=fail), Recorder())  # type: ignore[arg-type]
    made.close()


def test_a_backend_may_be_closed_after_its_loop(loop_name: str) -> None:
    async def main() -> Backend:
        made = backend()
        with pair() as (peer, ours):
            await made.open_stream(ours, owner)
            peer.send(b"x")
            await owner.receives(b"x")
        return made

    owner = Recorder()
    # What the loop opens for the life of the process.
    FACTORIES[loop_name]().close()
    before = descriptors()
    loop = FACTORIES[loop_name]()
    made = loop.run_until_complete(main())
    loop.close()
    made.close()
    assert owner.is_lost
    assert descriptors() == before
