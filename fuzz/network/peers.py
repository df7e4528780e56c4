"""The sockets of one step: a client, the connections that its upstream gets, and a third party.

Nothing here sleeps. Who waits asks the proxy a question over a connection that has nothing to do
with the step; when the answer is there, the proxy has had a turn of its event loop.
"""

import socket
import struct
from typing import Final

from fuzz.network.steps import CLOSE, FIN, RESET
from tests.helpers.proxies import is_served
from tests.helpers.wire import Wire, WireListener

_READ: Final = 1 << 20
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Failure(AssertionError):
    """What must not happen has happened."""


class Peer:
    """One end of a connection to the proxy, with all that it has heard."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.heard = bytearray()
        self.has_end = False
        self.was_reset = False
        self.has_left = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return self.has_end or self.was_reset or self.wire.sock.fileno() < 0

    def listen(self) -> int:
        """Take what has arrived; return how much it was."""
        before = len(self.heard)
        while not self.is_over:
            try:
                data = self.wire.sock.recv(_READ)
            except BlockingIOError:
                break
            except OSError:
                self.was_reset = True
                break
            self.heard += data
            self.has_end = not data
        return len(self.heard) - before

    def say(self, data: bytes) -> int:
        """Send as much as the kernel takes; return how much that was, -1 if nobody listens."""
        try:
            return self.wire.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def leave(self, how: str) -> None:
        """End, close or reset the connection."""
        self.has_left = True
        sock = self.wire.sock
        if how == FIN and sock.fileno() >= 0:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.was_reset = True
        if how == RESET and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if how in (CLOSE, RESET):
            self.wire.close()


class Slot:
    """Where steps take place, one after the other: an upstream's port, and what is kept open."""

    def __init__(self) -> None:
        self.proxy_port = 0
        self.listener = WireListener()
        # Connections of the proxy's to the upstream that it may use again.
        self.kept: list[Peer] = []
        # The mark of the step before, if its client has left the proxy with something to do.
        self.late = b""
        self._third: Wire | None = None

    async def turn(self) -> None:
        """Return when the proxy has had a turn of its loop."""
        if self._third is None:
            self._third = await Wire.to("127.0.0.1", self.proxy_port)
        await is_served(self._third)

    def arrived(self) -> list[Peer]:
        """Return the upstream's connections over which something has come, and all new ones."""
        new: list[Peer] = []
        while True:
            try:
                new.append(Peer(Wire(self.listener.sock.accept()[0])))
            except BlockingIOError:
                break
        for peer in list(self.kept):
            has_bytes = peer.listen() > 0
            if has_bytes or peer.is_over:
                self.kept.remove(peer)
            if has_bytes:
                new.append(peer)
            elif peer.is_over:
                peer.wire.close()
        return new

    def is_late(self, peer: Peer) -> bool:
        """Return whether a connection is the last that comes of the step before."""
        return self.late != b"" and self.late in peer.heard

    def keep(self, peer: Peer) -> None:
        """Have a connection used again."""
        peer.heard.clear()
        self.kept.append(peer)

    def forget(self) -> None:
        """Close all but the listening socket."""
        for peer in [*self.kept, *self.arrived()]:
            peer.wire.close()
        self.kept.clear()
        if self._third is not None:
            self._third.close()
            self._third = None

    def close(self) -> None:
        """Close everything."""
        self.forget()
        self.listener.close()
