"""Opens what a program has: streams of connected sockets, accepted ones, watched descriptors.

Peers, and sockets that wait to be opened, have large numbers. So a number that becomes free is that
of the next stream, acceptor or watched descriptor.
"""

import contextlib
import fcntl
import os
import socket
from random import Random
from typing import TYPE_CHECKING, Final

from cmux_proxy.net._native_acceptor import NativeAcceptor
from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net._stream_factory import adopt
from fuzz.churn.connection import Connection
from fuzz.churn.peer import Peer
from fuzz.churn.watched import Watched
from tests.helpers.native import Recorder
from tests.helpers.sockets import pair

if TYPE_CHECKING:
    from fuzz.churn.world import World

_HIGH: Final = 600
# Numbers of streams for which tables have to grow.
_GROWING: Final = range(257, _HIGH)
_SMALL_BUFFER: Final = 4096
# How many bytes wait in a socket when it is opened.
_EARLY: Final = (0, 0, 0, 1, 100)


class Openings:
    """Sockets that wait to be opened, and an acceptor with its backlog."""

    def __init__(self, world: "World", reactor: Reactor) -> None:
        self._world = world
        self._reactor = reactor
        self._spares: list[tuple[Peer, socket.socket]] = []
        self._keys = 0
        # Peers that wait in the backlog.
        self.dialed: list[Peer] = []
        self._listen()

    @property
    def has_spare(self) -> bool:
        """Whether `open` has something to open."""
        return bool(self._spares)

    def prepare(self, random: Random) -> None:
        """Connect a socket that can be opened, or one that waits in the backlog."""
        self._keys += 1
        early = random.choice(_EARLY)
        if random.random() < 0.3:
            sock = _moved(socket.create_connection(self._listener.getsockname()))
            self.dialed.append(Peer(sock, self._keys, early))
            return
        with pair(random.choice((socket.AF_INET, socket.AF_UNIX))) as (peer, ours):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFER)
            self._spares.append((Peer(_moved(peer), self._keys, early), _moved(ours)))

    def open(self, number: int | None = None) -> None:
        """Make a stream of a prepared socket, with the lowest number that is free by default."""
        if not self._spares:
            return
        peer, spare = self._spares.pop()
        fd = _renumbered(spare, number)
        connection = self._add(peer)
        connection.learn_number(fd)
        self._world.note(f"{connection} has the descriptor {fd}")
        with self._world.calling("adopt"):
            adopt(self._reactor, socket.socket(fileno=fd), connection.owner)

    def open_large(self, random: Random) -> None:
        """Make a stream with a large number, if that is free."""
        number = random.choice(_GROWING)
        try:
            os.fstat(number)
        except OSError:
            self.open(number)

    def watch(self, number: int | None = None) -> None:
        """Let the event loop watch a descriptor, with the lowest number that is free by default."""
        self._keys += 1
        peer, spare = map(_moved, socket.socketpair())
        sock = socket.socket(fileno=_renumbered(spare, number))
        self._world.note(f"the loop watches {sock.fileno()}")
        self._world.watched.append(Watched(self._world, 2 * self._keys, peer, sock))

    def accept(self) -> None:
        """Accept what is in the backlog, without an event."""
        with self._world.calling("finish"):
            self._acceptor.finish()
        self._acceptor.start()

    def listen_again(self) -> None:
        """Close the listening socket; a new one gets the lowest number that is free."""
        self.accept()
        self._acceptor.stop()
        self._listener.close()
        self._listen()

    def close(self) -> None:
        """Close everything that was not opened."""
        self._acceptor.stop()
        self._listener.close()
        for peer in self.dialed:
            peer.sock.close()
        for peer, spare in self._spares:
            peer.sock.close()
            spare.close()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFER)
        self._acceptor = NativeAcceptor(
            self._reactor, self._listener, self._make_owner, lambda _count: True, self._on_stopped
        )
        self._acceptor.start()

    def _make_owner(self) -> Recorder:
        return self._add(self.dialed.pop(0)).owner

    def _on_stopped(self) -> None:
        self._world.fail("the acceptor stops itself")

    def _add(self, peer: Peer) -> Connection:
        connection = Connection(self._world, peer)
        self._world.connections.append(connection)
        return connection


def _renumbered(sock: socket.socket, number: int | None) -> int:
    """Return a descriptor of the same socket, which is closed, with that or the lowest number."""
    with sock:
        return os.dup(sock.fileno()) if number is None else os.dup2(sock.fileno(), number)


def _moved(sock: socket.socket) -> socket.socket:
    """Return the same socket with a large number."""
    with contextlib.closing(sock):
        return socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _HIGH))
