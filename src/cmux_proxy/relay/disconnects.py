"""Finds peers that have left though nobody reads their connections.

The event loop hears of a loss only while it reads or writes. A connection whose reading is paused,
or whose peer has sent its end, may wait for a service that never answers, so the ticker has it
looked at: one poll(2) for all of them, and more only for those about which the kernel has news.
Neighbours: `net/timers.py` says when, `machine/orphaned_sockets.py` asks whether a program holds
its end.
"""

import asyncio
import errno
import fcntl
import select
import socket
import sys
import termios
from collections.abc import Collection, Sequence
from typing import Final, cast

from cmux_proxy.machine.orphaned_sockets import OrphanQuery
from cmux_proxy.net.socket_options import probe_soon
from cmux_proxy.net.timers import Timed, Unread

# So many connections without news are asked about at a look, the next ones at the next.
MOST_ASKED: Final = 512

_IS_LINUX: Final[bool] = sys.platform == "linux"
# TCP_CLOSE of <linux/tcp_states.h>
_CLOSED: Final = 7
_LOST: Final = select.POLLERR | select.POLLHUP
# SIOCOUTQNSD of <linux/sockios.h>
_NOT_SENT: Final = 0x894B
# Besides losses, which poll(2) always reports, that the peer has sent its end; Linux alone can.
_ENDED: Final[int] = getattr(select, "POLLRDHUP", 0)


class DisconnectDetector:
    """Looks at what is not read in some groups of connections."""

    def __init__(self, groups: Sequence[Collection[Timed]]) -> None:
        self._groups = groups
        self._looks = 0

    def look(self) -> None:
        """Tell each connection whose peer has left."""
        unread: list[Unread] = []
        for group in self._groups:
            for one in group:
                one.add_unread(unread)
        if unread:
            self._looks += 1
            for connection in _left(unread, self._looks * MOST_ASKED):
                connection.peer_left()


def count_unread(transport: asyncio.Transport) -> int:
    """Return how many bytes the kernel has of the peer that were not read."""
    return _ask_kernel(transport, termios.FIONREAD)


def count_unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has not taken; those in the kernel are counted on Linux."""
    return transport.get_write_buffer_size() + _ask_kernel(transport, termios.TIOCOUTQ)


def is_behind(transport: asyncio.Transport) -> bool:
    """Return whether the kernel could not send all yet, for want of room at the peer (Linux)."""
    return _ask_kernel(transport, _NOT_SENT) > 0


def was_reset(transport: asyncio.Transport) -> bool:
    """Return whether the connection was lost otherwise than behind the peer's end; ask once."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in (0, errno.EPIPE)


def _ask_kernel(transport: asyncio.Transport, request: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), request, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder, signed=True)


def _left(unread: list[Unread], first: int) -> list[Unread]:
    """Return those whose peers have left for certain."""
    poll = select.poll()
    watched: dict[int, tuple[socket.socket, Unread]] = {}
    for connection in unread:
        sock = cast(socket.socket | None, connection.transport.get_extra_info("socket"))
        if sock is not None and sock.fileno() >= 0:
            watched[sock.fileno()] = sock, connection
            poll.register(sock.fileno(), _ENDED)
    news = dict(poll.poll(0))
    # An end that waits behind bytes that nobody reads is not seen: the peer cannot send it.
    silent = [descriptor for descriptor in watched if descriptor not in news]
    first %= len(silent) or 1
    for descriptor in (silent[first:] + silent[:first])[:MOST_ASKED]:
        news[descriptor] = 0
    with OrphanQuery() as orphans:
        return [
            watched[descriptor][1]
            for descriptor, events in news.items()
            if _has_left(watched[descriptor][0], events, orphans)
        ]


def _has_left(sock: socket.socket, events: int, orphans: OrphanQuery) -> bool:
    if sock.family == socket.AF_UNIX:
        # Elsewhere that may be the end of one half.
        return _IS_LINUX and events & select.POLLHUP != 0
    if events & _LOST and _is_lost(sock):
        return True
    if orphans.is_peer_closed(sock):
        return True
    if events:
        # Where the peer has left, the next probe is answered by a reset as soon as its kernel has
        # forgotten the connection too.
        probe_soon(sock)
    return False


def _is_lost(sock: socket.socket) -> bool:
    """Return whether the kernel has the connection no more; where both have ended, poll errs."""
    if _IS_LINUX:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
