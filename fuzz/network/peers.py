"""The sockets of one step: a client, the connections of its upstream, and a probe.

Nothing here sleeps. To wait, a request is sent to the proxy over the probe, a connection outside of
the step; when its response arrives, the event loop of the proxy has run once.
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
    """A condition of a step does not hold."""


class Peer:
    """One end of a connection to the proxy, and the bytes that it has received."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.received = bytearray()
        self.has_end = False
        self.was_reset = False
        self.has_closed = False

    @property
    def is_over(self) -> bool:
        """Whether no more bytes will arrive."""
        return self.has_end or self.was_reset or self.wire.sock.fileno() < 0

    def receive(self) -> int:
        """Read the bytes that have arrived; return how many they were."""
        before = len(self.received)
        while not self.is_over:
            try:
                data = self.wire.sock.recv(_READ)
            except BlockingIOError:
                break
            except OSError:
                self.was_reset = True
                break
            self.received += data
            self.has_end = not data
        return len(self.received) - before

    def send(self, data: bytes) -> int:
        """Send as many bytes as the kernel accepts; return their number, -1 if the peer is gone."""
        try:
            return self.wire.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def close_by(self, method: str) -> None:
        """Half-close, close or reset the connection."""
        self.has_closed = True
        sock = self.wire.sock
        if method == FIN and sock.fileno() >= 0:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.was_reset = True
        if method == RESET and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if method in (CLOSE, RESET):
            self.wire.close()


class Slot:
    """Plays steps one after the other, with an upstream's port and its open connections."""

    def __init__(self) -> None:
        self.proxy_port = 0
        self.listener = WireListener()
        # Connections to the upstream that the proxy may reuse.
        self.reusable: list[Peer] = []
        # The mark of the step before, if its client closed before the proxy was done.
        self.late = b""
        self._probe: Wire | None = None

    async def turn(self) -> None:
        """Return when the event loop of the proxy has run once."""
        if self._probe is None:
            self._probe = await Wire.to("127.0.0.1", self.proxy_port)
        await is_served(self._probe)

    def arrived(self) -> list[Peer]:
        """Return the upstream's connections with new bytes, and all new connections."""
        new: list[Peer] = []
        while True:
            try:
                new.append(Peer(Wire(self.listener.sock.accept()[0])))
            except BlockingIOError:
                break
        for peer in list(self.reusable):
            has_bytes = peer.receive() > 0
            if has_bytes or peer.is_over:
                self.reusable.remove(peer)
            if has_bytes:
                new.append(peer)
            elif peer.is_over:
                peer.wire.close()
        return new

    def is_late(self, peer: Peer) -> bool:
        """Return whether a connection belongs to the step before."""
        return self.late != b"" and self.late in peer.received

    def keep(self, peer: Peer) -> None:
        """Keep a connection for reuse by the proxy."""
        peer.received.clear()
        self.reusable.append(peer)

    def close_connections(self) -> None:
        """Close all connections, but not the listening socket."""
        for peer in [*self.reusable, *self.arrived()]:
            peer.wire.close()
        self.reusable.clear()
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def close(self) -> None:
        """Close all connections and the listening socket."""
        self.close_connections()
        self.listener.close()
