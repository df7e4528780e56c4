"""A plain descriptor that the event loop watches, between those of the streams."""

import socket
from typing import TYPE_CHECKING

from fuzz.churn.content import content

if TYPE_CHECKING:
    from fuzz.churn.world import World


class Watched:
    """One end of a pair of sockets, with a reader and at times a writer; `key` is its content."""

    def __init__(self, world: "World", key: int, peer: socket.socket, sock: socket.socket) -> None:
        self.world = world
        self.key = key
        self.peer = peer
        self._sock = sock
        self.sent = 0
        self._got = 0
        self._is_writing = False
        self.is_open = True
        self._is_forgotten = False
        sock.setblocking(False)
        world.loop.add_reader(sock.fileno(), self._read)

    def __str__(self) -> str:
        return f"descriptor {self.key}"

    def feed(self, size: int) -> None:
        """Send some bytes to it."""
        if self.is_open:
            self.sent += self.peer.send(content(self.key, self.sent, size))

    def wait_for_room(self) -> None:
        """Wait until there is room to write, which there is at once."""
        if self.is_open and not self._is_writing:
            self._is_writing = True
            self.world.loop.add_writer(self._sock.fileno(), self._on_room)

    def close(self) -> int:
        """Watch it no longer, and close it; return its number."""
        if self._is_writing:
            self.world.loop.remove_writer(self._sock.fileno())
        self.world.loop.remove_reader(self._sock.fileno())
        return self._close()

    def forget(self) -> int:
        """Close it while it is watched, as some programs do; return its number.

        Its callbacks may come once more, because of events of before.
        """
        self._is_forgotten = True
        return self._close()

    def _close(self) -> int:
        self.is_open = False
        number = self._sock.fileno()
        self._sock.close()
        self.peer.close()
        return number

    def missing(self) -> str:
        """Return what has not happened yet, or an empty text."""
        if not self.is_open:
            return ""
        if self._is_writing:
            return "room"
        return f"{self.sent - self._got} bytes" if self._got < self.sent else ""

    def _read(self) -> None:
        self.world.note(f"{self}: readable")
        if self._is_forgotten:
            return
        try:
            new = self._sock.recv(65_536)
        except OSError as error:
            self.world.fail(f"{self} is called by an event of another: {error}")
            return
        if not new or new != content(self.key, self._got, len(new)):
            self.world.fail(f"{self} reads bytes of another")
        self._got += len(new)

    def _on_room(self) -> None:
        self.world.note(f"{self}: writable")
        self._is_writing = False
        if self.is_open:
            self.world.loop.remove_writer(self._sock.fileno())
        elif not self._is_forgotten:
            self.world.fail(f"{self} is called after its end")
