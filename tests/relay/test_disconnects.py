"""Peers that have left though nobody reads their connections, one look at a time.

What follows for clients and tunnels, over real connections of both loops, is in
tests/network/test_hung_services.py.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cmux_proxy.machine.orphaned_sockets import OrphanQuery
from cmux_proxy.net.timers import LOOK_EVERY, TICK, Timed, Unread
from cmux_proxy.relay import disconnects
from cmux_proxy.relay.disconnects import DisconnectDetector, count_unread, count_unsent, was_reset
from tests.helpers.fakes import World
from tests.helpers.script import head

RESET = struct.pack("ii", 1, 0)


class Side:
    """One end of a connection that nobody reads; compiled classes have no heirs here."""

    def __init__(self, sock: socket.socket) -> None:
        self.transport = transport_of(sock)
        self.has_left = 0

    def add_unread(self, unread: list[Any]) -> None:
        unread.append(self)

    def peer_left(self) -> None:
        self.has_left += 1


def transport_of(sock: socket.socket | None, held: int = 0) -> Any:
    return SimpleNamespace(get_extra_info=lambda _name: sock, get_write_buffer_size=lambda: held)


@contextlib.contextmanager
def pair(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a peer, and our end of its connection."""
    with contextlib.ExitStack() as stack:
        if family == socket.AF_UNIX:
            peer, ours = socket.socketpair()
        else:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            peer = socket.create_connection(listener.getsockname())
            ours, _address = listener.accept()
        yield stack.enter_context(peer), stack.enter_context(ours)


def seen(*sides: Side) -> list[int]:
    """Look once more; return how often each was told."""
    DisconnectDetector([set(), cast(Any, list(sides))]).look()
    return [side.has_left for side in sides]


families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["TCP", "Unix"])


@families
def test_a_peer_that_is_there_has_not_left(family: int) -> None:
    with pair(family) as (peer, ours):
        side = Side(ours)
        assert seen(side) == [0]
        peer.send(b"unread")
        peer.shutdown(socket.SHUT_WR)
        assert seen(side) == [0]
        peer.close()
        assert seen(side) == [1]
        # Whoever does nothing about it is told again.
        assert seen(side) == [2]


def test_without_the_kernels_word_on_its_program_a_reset_behind_the_end_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrphanQuery, "is_peer_closed", lambda *_: False)
    with pair() as (peer, ours):
        side = Side(ours)
        peer.shutdown(socket.SHUT_WR)
        assert seen(side) == [0]
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        assert seen(side) == [1]


def test_both_ends_that_have_ended_are_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrphanQuery, "is_peer_closed", lambda *_: False)
    with pair() as (peer, ours):
        # poll(2) tells a hang-up here too.
        peer.shutdown(socket.SHUT_WR)
        monkeypatch.setattr(disconnects, "_is_lost", lambda _: False)
        ours.shutdown(socket.SHUT_WR)
        assert seen(Side(ours)) == [0]


def test_what_is_closed_already_is_passed_over() -> None:
    with pair() as (peer, ours):
        ours.close()
        peer.close()
        side = Side(ours)
        nothing = Side(ours)
        nothing.transport = transport_of(None)
        assert seen(side, nothing) == [0, 0]


def test_all_of_many_that_are_silent_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(disconnects, "MOST_ASKED", 3)
    monkeypatch.setattr(OrphanQuery, "is_peer_closed", lambda _self, sock: asked.append(sock))
    with contextlib.ExitStack() as stack:
        sides = [Side(stack.enter_context(pair())[1]) for _ in range(8)]
        look = DisconnectDetector([cast(Any, sides)])
        for count in range(1, 4):
            look.look()
            assert len(asked) == 3 * count
        assert {id(sock) for sock in asked} == {
            id(side.transport.get_extra_info("socket")) for side in sides
        }


def test_few_are_all_asked_about_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(OrphanQuery, "is_peer_closed", lambda _self, sock: asked.append(sock))
    with pair() as (_peer, ours), pair() as (_other, second):
        look = DisconnectDetector([cast(Any, [Side(ours), Side(second)])])
        for count in range(1, 5):
            look.look()
            assert len(asked) == 2 * count


# What there is to deliver


def test_what_was_not_read_is_counted_without_the_end() -> None:
    with pair() as (peer, ours):
        assert count_unread(transport_of(ours)) == 0
        peer.send(b"12345")
        peer.shutdown(socket.SHUT_WR)
        assert count_unread(transport_of(ours)) == 5
        ours.recv(2)
        assert count_unread(transport_of(ours)) == 3
    assert count_unread(transport_of(ours)) == 0
    assert count_unread(transport_of(None)) == 0


def test_what_was_not_sent_is_counted_with_what_the_kernel_has() -> None:
    with pair() as (peer, ours):
        assert count_unsent(transport_of(ours, 7)) == 7
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(65536))
        assert count_unsent(transport_of(ours, 7)) > 7
    assert count_unsent(transport_of(ours, 7)) == 7


@pytest.mark.parametrize(("ends", "expected"), [(True, False), (False, True)])
def test_a_reset_is_told_from_a_departure_behind_the_end(ends: bool, expected: bool) -> None:
    with pair() as (peer, ours):
        assert not was_reset(transport_of(ours))
        if ends:
            peer.shutdown(socket.SHUT_WR)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        assert was_reset(transport_of(ours)) is expected
    assert not was_reset(transport_of(ours))


# When


def test_it_is_looked_every_few_seconds() -> None:
    world = World()
    looks: list[float] = []
    world.context.ticker._look = lambda: looks.append(world.loop.now)
    world.walk(LOOK_EVERY - TICK)
    assert not looks
    world.walk(TICK)
    assert len(looks) == 1
    world.walk(LOOK_EVERY - TICK)
    assert len(looks) == 1
    world.walk(TICK)
    assert len(looks) == 2


def test_it_is_looked_at_every_tick_while_others_wait_for_a_place() -> None:
    world = World()
    looks: list[float] = []
    world.context.ticker._look = lambda: looks.append(world.loop.now)
    world.context.on_change = lambda: None
    world.context.most_clients = 1
    client = world.client()
    for count in range(1, 4):
        world.walk(TICK)
        assert len(looks) == count
    client.ends()
    world.run()
    world.walk(TICK)
    assert len(looks) == 3


def test_who_is_read_is_not_looked_at() -> None:
    world = World()
    route = "X-Cmux-Port-Internal: 80"
    client, _upstream = world.ask(head("GET / HTTP/1.1", "Host: a", route))
    [connection] = world.context.clients
    unread: list[Unread] = []
    connection.add_unread(unread)
    assert not unread
    client.ends()
    connection.add_unread(unread)
    assert len(unread) == 1
    Timed().add_unread(unread)
    assert len(unread) == 1
    assert isinstance(unread[0].transport, asyncio.Transport)
