"""Finds peers that have left while their connections are not read.

The event loop notices a loss only while it reads or writes. A connection whose reading is paused,
or whose peer has sent its end, may wait for a service that never responds, so the ticker has it
checked: one poll(2) for all of them, and further system calls only for those about which the kernel
has news. Neighbour: `timers.py` says when. Does not know how to find out whether a program holds
the other end: the detector is given a query for that.
"""

import select
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from cmux_proxy.net.asyncio_backend import raw_socket
from cmux_proxy.net.socket_options import probe_soon
from cmux_proxy.net.timers import Timed, Unread

# How many connections without news are checked at a time; the next ones follow at the next check.
MAX_SILENT: Final = 512

_IS_LINUX: Final[bool] = sys.platform == "linux"
# TCP_CLOSE of <linux/tcp_states.h>
_CLOSED: Final = 7
_LOST: Final = select.POLLERR | select.POLLHUP
# That the peer has sent its end; Linux alone reports it. poll(2) always reports losses.
_ENDED: Final[int] = getattr(select, "POLLRDHUP", 0)


class PeerQuery(Protocol):
    """Knows which connections have lost the program at their other end."""

    def is_peer_closed(self, sock: Any) -> bool:
        """Return whether a program of this machine has closed the other end for certain."""


OpenQuery = Callable[[], AbstractContextManager[PeerQuery]]


class DisconnectDetector:
    """Checks what is not read in some groups of connections.

    At most `max_silent` connections without news are checked at a time.
    """

    def __init__(
        self,
        groups: Sequence[Collection[Timed]],
        open_query: OpenQuery,
        max_silent: int = MAX_SILENT,
    ) -> None:
        self._groups = groups
        self._open_query = open_query
        self._max_silent = max_silent
        self._checks = 0

    def check(self) -> None:
        """Call `on_peer_left` of each connection whose peer has left."""
        unread: list[Unread] = []
        for group in self._groups:
            for timed in group:
                timed.add_unread(unread)
        if unread:
            self._checks += 1
            for connection in self._abandoned(unread):
                connection.on_peer_left()

    def _abandoned(self, unread: list[Unread]) -> list[Unread]:
        """Return those whose peers have left for certain."""
        watched = _watched(unread)
        news = _poll(watched)
        # An end that waits behind unread bytes is not seen: the peer cannot send it.
        silent = [descriptor for descriptor in watched if descriptor not in news]
        first = self._checks * self._max_silent % (len(silent) or 1)
        for descriptor in (silent[first:] + silent[:first])[: self._max_silent]:
            news[descriptor] = 0
        with self._open_query() as query:
            return [
                watched[descriptor][1]
                for descriptor, events in news.items()
                if _has_left(watched[descriptor][0], events, query)
            ]


def _watched(unread: list[Unread]) -> dict[int, tuple[socket.socket, Unread]]:
    """Return the open connections by their descriptors."""
    watched: dict[int, tuple[socket.socket, Unread]] = {}
    for connection in unread:
        sock = raw_socket(connection.transport)
        if sock is not None:
            watched[sock.fileno()] = sock, connection
    return watched


def _poll(descriptors: Collection[int]) -> dict[int, int]:
    """Return the events of those that have any."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, _ENDED)
    return dict(poll.poll(0))


def _has_left(sock: socket.socket, events: int, query: PeerQuery) -> bool:
    if sock.family == socket.AF_UNIX:
        # On other systems that may be the end of one half.
        return _IS_LINUX and events & select.POLLHUP != 0
    if events & _LOST and _is_lost(sock):
        return True
    if query.is_peer_closed(sock):
        return True
    if events:
        # Where the peer has left, its kernel responds to the next probe with a reset as soon as it
        # has forgotten the connection too.
        probe_soon(sock)
    return False


def _is_lost(sock: socket.socket) -> bool:
    """Return whether the kernel has closed the connection; poll reports a loss after both ends."""
    if _IS_LINUX:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
