"""One side of a tunnel: sends the bytes that it receives to its peer, which is the other side.

Bytes are neither parsed nor changed. A half-close is passed on as a half-close, a reset as a reset.
Does not know which side is the client's, nor what is logged. Neighbour: `tunnel.py` joins two sides
and has their timeout.
"""

from typing import Final

from cmux_proxy.net import splice
from cmux_proxy.net.closing import reset, send_end
from cmux_proxy.net.flow_control import PEER_FULL, ReadControl
from cmux_proxy.net.socket_queues import count_unread, count_unsent, was_reset
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER, Timed, Unread
from cmux_proxy.relay.services import Services

# How many seconds the bytes of a peer that has left may wait for the other side to read them.
_DELIVERY_TIMEOUT: Final = 60.0


class TunnelSideOwner(Timed):
    """What a side reports to; `Tunnel` implements it. A side moves its deadline."""

    __slots__ = ()

    def note_unsent(self) -> bool:
        """Count the bytes that wait for a side to read; return whether they have become fewer."""
        raise NotImplementedError

    def closed(self) -> None:
        """Both sides are gone."""
        raise NotImplementedError


class TunnelSide:
    """One side of a tunnel: the bytes that it receives are sent to its peer."""

    __slots__ = (
        "_has_ended", "_is_lost", "_sender", "_services", "_sink", "_stalled", "_tunnel",
        "_undelivered", "count", "last_byte", "peer", "reading", "transport",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        tunnel: TunnelSideOwner,
        sender: int,
        transport: Stream,
        sink: Stream,
    ) -> None:
        self._services = services
        self._sender = sender
        self.transport = transport
        self.reading = ReadControl()
        self.reading.stream = transport
        self._sink = sink
        # None once both sides are gone: without the cycle, no garbage collection is needed.
        self._tunnel: TunnelSideOwner | None = tunnel
        self.peer: TunnelSide | None = None
        self._has_ended = False
        self._is_lost = False
        # After its peer has left: how many bytes wait to be delivered, and when that last fell.
        self._undelivered = 0
        self._stalled = 0.0
        # How many bytes it has received, and when the last of them.
        self.count = 0
        self.last_byte = services.ticker.now

    def add_unread(self, unread: list[Unread]) -> None:
        """Add it while it is not read."""
        if self.reading.is_stopped():
            unread.append(Unread(self.transport, self.peer_left))

    def data_received(self, data: bytes) -> None:
        """Send the bytes to the peer."""
        self._note_received(len(data))
        self._sink.write(data)
        if len(data) >= splice.MIN_READ:
            splice.start_transfer(
                self._services.splice_pipe,
                self.transport,
                self._sink,
                None,
                self._note_received,
                len(data),
            )

    def _note_received(self, count: int) -> None:
        """Count bytes that go to the peer, and wait for the whole timeout again."""
        services = self._services
        if services.busy_poll is not None:
            services.busy_poll.note(self._sender)
        self.count += count
        self.last_byte = services.ticker.now
        if services.timeouts.tunnel != NEVER and self._tunnel is not None:
            self._tunnel.deadline = services.ticker.now + services.timeouts.tunnel

    def eof_received(self) -> bool:
        """Pass the half-close on; close both sides when both directions have ended."""
        peer = self.peer
        if not self._has_ended and peer is not None:
            self._has_ended = True
            self.reading.note_end()
            if not self._sink.is_closing() and not send_end(self._sink):
                # The stream that was aborted does not report a reset.
                reset(self.transport)
            elif peer._has_ended:
                self._sink.close()
                self.transport.close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Pass a reset on as a reset; otherwise close the peer once it has sent everything."""
        self._is_lost = True
        peer = self.peer
        if peer is not None and peer._is_lost:
            if self._tunnel is not None:
                self._tunnel.closed()
        elif error is not None:
            reset(self._sink)
        else:
            self._sink.close()

    def pause_writing(self) -> None:
        """This side does not read: stop reading the other."""
        if self._tunnel is not None:
            self._tunnel.note_unsent()
        if self.peer is not None:
            self.peer.reading.stop(PEER_FULL)

    def resume_writing(self) -> None:
        """This side reads again."""
        if self.peer is not None:
            self.peer.reading.resume(PEER_FULL)

    def peer_left(self) -> None:
        """End the tunnel, after the other side has had time to read the rest."""
        held = self._sink.get_write_buffer_size() + count_unread(self.transport)
        if held:
            now = self._services.ticker.now
            undelivered = count_unread(self.transport) + count_unsent(self._sink)
            if not self._undelivered or undelivered < self._undelivered:
                self._undelivered = undelivered
                self._stalled = now
            if now - self._stalled < _DELIVERY_TIMEOUT:
                return
        if was_reset(self.transport):
            reset(self._sink)
        elif held:
            self._sink.abort()
        self.transport.abort()

    def detach(self) -> None:
        """Release the tunnel and the other side."""
        self._tunnel = None
        self.peer = None
