"""Descriptors and events: numbers that are used again, events that come late, many at once."""

import asyncio
import os
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net._stream_factory import adopt
from tests.helpers.native import (
    HOSTINGS,
    BufferedRecorder,
    Recorder,
    Streams,
    arrive,
    arrive_reset,
    spin_until,
    turns,
    unread,
    watched_events,
)
from tests.helpers.sockets import pair

__all__ = ["HOSTINGS"]


@pytest.mark.parametrize("late", ["bytes", "reset"])
async def test_a_late_event_of_a_descriptor_is_not_that_of_its_next_connection(late: str) -> None:
    async with Streams() as streams:
        first = await streams.open()
        peer, ours = socket.socketpair()
        # As a child has it between fork and exec: the kernel still reports events of the first.
        kept = os.dup(first.fd)
        first.stream.abort()
        await first.lost()
        os.dup2(ours.fileno(), first.fd)
        ours.close()
        second = streams.adopt(socket.socket(fileno=first.fd), peer, BufferedRecorder(64))
        if late == "bytes":
            first.wire.sock.send(b"late")
            spin_until(lambda: unread(kept) == 4)
        else:
            first.wire.reset()
        await turns()
        # Not even an attempt to read.
        assert second.calls == ["connection_made"]
        await second.wire.send(b"hello")
        await second.receives(b"hello")
        os.close(kept)


async def test_a_number_is_free_again_only_after_the_batch() -> None:
    # One batch: the first stream ends the second, a new one is opened, and the second has an event.
    def end_second() -> None:
        second.stream.abort()
        peer, ours = socket.socketpair()
        streams.adopt(ours, peer, third)
        arrive(third, b"for the third")

    third = Recorder()
    async with Streams() as streams:
        first, second = await streams.open(), await streams.open()
        first.on["data_received"] = end_second
        arrive(first, b"x")
        arrive(second, b"for the second")
        await third.receives(b"for the third")
        await second.lost()
        assert second.calls == ["connection_made", "connection_lost"]
        assert second.fd not in (third.fd, third.wire.sock.fileno())


async def test_events_of_a_stream_that_was_lost_in_the_batch_before_have_no_effect() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        owner.stream.abort()
        arrive(owner, b"too late")
        await owner.lost()
        await turns()
        assert owner.calls == ["connection_made", "connection_lost"]


async def test_more_streams_than_a_batch_has_events_are_all_served() -> None:
    async with Streams() as streams:
        owners = [await streams.open(family=socket.AF_UNIX) for _ in range(300)]
        for owner in owners:
            owner.wire.sock.send(b"x")
        for owner in owners:
            await owner.receives(b"x")
        for owner in owners:
            owner.wire.close()
        for owner in owners:
            await owner.lost()


async def test_descriptors_with_large_numbers_are_watched_too() -> None:
    async with Streams() as streams:
        peer, ours = socket.socketpair()
        number = 4000
        os.dup2(ours.fileno(), number)
        ours.close()
        owner = streams.adopt(socket.socket(fileno=number), peer)
        await owner.wire.send(b"hello")
        await owner.receives(b"hello")


async def test_connections_come_and_go_with_the_same_numbers() -> None:
    async with Streams() as streams:
        for number in range(200):
            owner = await streams.open(family=socket.AF_UNIX)
            data = b"%d" % number
            arrive(owner, data)
            await owner.receives(data)
            if number % 2:
                owner.wire.close()
            else:
                owner.stream.abort()
            await owner.lost()
            owner.wire.close()


async def test_a_connection_that_the_kernel_does_not_watch_is_lost() -> None:
    def detach() -> int:
        return os.open(__file__, os.O_RDONLY)

    # A regular file, which epoll refuses as it refuses a watch too many.
    sock = SimpleNamespace(family=socket.AF_INET, setblocking=lambda _flag: None, detach=detach)
    async with Streams() as streams:
        owner = Recorder()
        owner.on["connection_made"] = lambda: owner.stream.write(b"ignored")
        await streams.backend.open_stream(sock, owner)  # type: ignore[arg-type]
        assert owner.stream.is_closing()
        await owner.lost()
        assert owner.calls == ["connection_made", "connection_lost"]
        assert isinstance(owner.error, PermissionError)


async def test_a_stream_is_watched_until_its_descriptor_closes() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        assert watched_events(owner.fd) is not None
        owner.stream.abort()
        await owner.lost()
        assert watched_events(owner.fd) is None


async def test_a_reactor_that_is_closed_aborts_its_streams_and_does_nothing_more() -> None:
    loop = asyncio.get_running_loop()
    reactor = Reactor(loop)
    owners = [Recorder(), Recorder(), Recorder()]
    # The loss of one may end another.
    owners[0].on["connection_lost"] = lambda: owners[1].stream.abort()
    peers = []
    for owner in owners:
        peer, ours = socket.socketpair()
        owner.fd = ours.fileno()
        peers.append(peer)
        adopt(reactor, ours, owner)
    owners[2].stream.write(b"sent")
    reactor.close()
    for owner, peer in zip(owners, peers, strict=True):
        assert owner.calls == ["connection_made", "connection_lost"]
        assert owner.error is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(owner.fd)
        peer.close()
    reactor.close()
    reactor.poll()
    assert reactor.fileno() == -1
    await turns()
    with pair() as (_peer, ours):
        owner = Recorder()
        with pytest.raises(OSError, match="Bad file descriptor"):
            adopt(reactor, ours, owner)
        assert owner.calls == []


async def test_a_reactor_that_closes_opens_no_stream_for_the_loss_of_another() -> None:
    def open_another() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            adopt(reactor, ours, second)

    reactor = Reactor(asyncio.get_running_loop())
    first, second = Recorder(), Recorder()
    peer, ours = socket.socketpair()
    first_peer, first_ours = socket.socketpair()
    first.on["connection_lost"] = open_another
    adopt(reactor, first_ours, first)
    with peer, first_peer:
        reactor.close()
        assert first.calls == ["connection_made", "connection_lost"]
        # Its descriptor is closed all the same.
        assert second.calls == []
        assert peer.recv(1) == b""


async def test_a_reset_reaches_every_stream_of_a_batch() -> None:
    async with Streams() as streams:
        owners = [await streams.open() for _ in range(20)]
        for owner in owners:
            arrive_reset(owner)
        for owner in owners:
            await owner.lost()
            assert isinstance(owner.error, ConnectionResetError)
