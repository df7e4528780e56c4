"""Peers that have left while their connections are not read, one check at a time.

What follows for clients and tunnels, over real connections of both loops, is in
tests/network/test_hung_services.py.
"""

import contextlib
import socket
from typing import Any, Self, cast

import pytest

from cmux_proxy.machine.orphaned_sockets import OrphanQuery
from cmux_proxy.net import disconnects
from cmux_proxy.net.disconnects import DisconnectDetector, OpenQuery
from cmux_proxy.net.timers import Unread
from tests.helpers.sockets import RESET, pair, stream_of


class Side:
    """One end of a connection that nobody reads; compiled classes have no heirs here."""

    def __init__(self, sock: socket.socket) -> None:
        self.transport = stream_of(sock)
        self.has_left = 0

    def add_unread(self, unread: list[Unread]) -> None:
        unread.append(Unread(self.transport, self.peer_left))

    def peer_left(self) -> None:
        self.has_left += 1


class Connected:
    """A kernel for which a program holds every other end; keeps the sockets it was asked about."""

    def __init__(self) -> None:
        self.checked: list[object] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""

    def is_peer_closed(self, sock: object) -> bool:
        self.checked.append(sock)
        return False


def check(*sides: Side, open_query: OpenQuery = OrphanQuery) -> list[int]:
    """Check once; return how often each side has been told that its peer has left."""
    DisconnectDetector([set(), cast(Any, list(sides))], open_query).check()
    return [side.has_left for side in sides]


families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["TCP", "Unix"])


@families
def test_a_peer_that_is_there_has_not_left(family: int) -> None:
    with pair(family) as (peer, ours):
        side = Side(ours)
        assert check(side) == [0]
        peer.send(b"unread")
        peer.shutdown(socket.SHUT_WR)
        assert check(side) == [0]
        peer.close()
        assert check(side) == [1]
        # It is reported until somebody acts on it.
        assert check(side) == [2]


def test_where_the_program_is_unknown_a_reset_behind_the_end_shows_it() -> None:
    with pair() as (peer, ours):
        side = Side(ours)
        peer.shutdown(socket.SHUT_WR)
        assert check(side, open_query=Connected) == [0]
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        assert check(side, open_query=Connected) == [1]


def test_both_ends_that_have_ended_are_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (peer, ours):
        # poll(2) reports a hang-up here too. On the loopback the connection is gone at once: the
        # moment before that, which is long on a network, has to be pretended.
        monkeypatch.setattr(disconnects, "_is_lost", lambda _: False)
        peer.shutdown(socket.SHUT_WR)
        ours.shutdown(socket.SHUT_WR)
        assert check(Side(ours), open_query=Connected) == [0]


def test_what_is_closed_already_is_passed_over() -> None:
    with pair() as (peer, ours):
        ours.close()
        peer.close()
        side = Side(ours)
        nothing = Side(ours)
        nothing.transport = stream_of(None)
        assert check(side, nothing) == [0, 0]


def test_silent_connections_take_turns_where_there_are_many() -> None:
    kernel = Connected()
    with contextlib.ExitStack() as stack:
        sides = [Side(stack.enter_context(pair())[1]) for _ in range(8)]
        detector = DisconnectDetector([cast(Any, sides)], lambda: kernel, max_silent=3)
        for count in range(1, 4):
            detector.check()
            assert len(kernel.checked) == 3 * count
        assert {id(sock) for sock in kernel.checked} == {
            id(side.transport.get_extra_info("socket")) for side in sides
        }


def test_a_few_silent_connections_are_all_checked_each_time() -> None:
    kernel = Connected()
    with pair() as (_peer, ours), pair() as (_other, second):
        detector = DisconnectDetector([cast(Any, [Side(ours), Side(second)])], lambda: kernel)
        for count in range(1, 5):
            detector.check()
            assert len(kernel.checked) == 2 * count
