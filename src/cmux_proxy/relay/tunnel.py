"""A tunnel: bytes in both directions between two streams, after CONNECT or an upgrade.

Bytes are neither parsed nor changed. A half-close is passed on as a half-close, a reset as a reset.
Does not know how the tunnel was opened.
"""

from typing import Final

from cmux_proxy.net import splice
from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net.closing import reset, send_end
from cmux_proxy.net.flow_control import PEER_FULL, ReadControl
from cmux_proxy.net.socket_queues import count_unread, count_unsent, was_reset
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER, Timed, Unread
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.services import Services
from cmux_proxy.routing.target import Target

# How many seconds the bytes of a peer that has left may wait for the other side to read them.
_DELIVERY_TIMEOUT: Final = 60.0


class TunnelSide:
    """One side of a tunnel: the bytes that it receives are sent to its peer."""

    __slots__ = (
        "_has_ended", "_is_lost", "_sender", "_services", "_sink", "_stalled", "_tunnel",
        "_undelivered", "count", "last_byte", "peer", "reading", "transport",
    )  # fmt: skip

    def __init__(self, tunnel: "Tunnel", sender: int, transport: Stream, sink: Stream) -> None:
        self._services = tunnel.services
        self._sender = sender
        self.transport = transport
        self.reading = ReadControl()
        self.reading.stream = transport
        self._sink = sink
        # None once both sides are gone: without the cycle, no garbage collection is needed.
        self._tunnel: Tunnel | None = tunnel
        self.peer: TunnelSide | None = None
        self._has_ended = False
        self._is_lost = False
        # After its peer has left: how many bytes wait to be delivered, and when that last fell.
        self._undelivered = 0
        self._stalled = 0.0
        # How many bytes it has received, and when the last of them.
        self.count = 0
        self.last_byte = tunnel.services.ticker.now

    def add_unread(self, unread: list[Unread]) -> None:
        """Add it while it is not read."""
        if self.reading.is_stopped():
            unread.append(Unread(self.transport, self.peer_left))

    def data_received(self, data: bytes) -> None:
        """Send the bytes to the peer."""
        services = self._services
        if services.busy_poll is not None:
            services.busy_poll.note(self._sender)
        self.count += len(data)
        self.last_byte = services.ticker.now
        if services.timeouts.tunnel != NEVER and self._tunnel is not None:
            self._tunnel.deadline = services.ticker.now + services.timeouts.tunnel
        self._sink.write(data)
        if len(data) >= splice.MIN_READ:
            splice.start_transfer(
                services.splice_pipe,
                self.transport,
                self._sink,
                None,
                self._count_spliced,
                len(data),
            )

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

    def _count_spliced(self, count: int) -> None:
        """Count bytes that the kernel has moved."""
        self.count += count

    def detach(self) -> None:
        """Release the tunnel and the other side."""
        self._tunnel = None
        self.peer = None


class Tunnel(Timed):
    """Both sides of a tunnel."""

    __slots__ = ("_port", "_target", "_unsent", "client", "record", "services", "upstream")

    def __init__(
        self,
        services: Services,
        client: Stream,
        upstream: Stream,
        target: Target,
        record: Record | None,
    ) -> None:
        super().__init__()
        self.services = services
        self._target = target
        # None where nothing is logged.
        self.record = record
        self._port: PortActivity | None = None
        self.deadline = services.ticker.now + services.timeouts.tunnel
        # How many bytes waited for a side to read them when they were counted last.
        self._unsent = 0
        self.client = TunnelSide(self, FROM_CLIENT, client, upstream)
        self.upstream = TunnelSide(self, FROM_UPSTREAM, upstream, client)
        self.client.peer = self.upstream
        self.upstream.peer = self.client

    def open(
        self, response: bytes, from_client: bytes, from_upstream: bytes, client_has_ended: bool
    ) -> None:
        """Take over both streams; send the response and then the bytes that have arrived."""
        client = self.client.transport
        upstream = self.upstream.transport
        self.services.registry.tunnels.add(self)
        observer = self.services.observer
        if observer is not None and observer.is_counting:
            self._port = observer.ports.of(self._target)
            self._port.tunnels += 1
        self.services.read_size.install(client, self.client)
        self.services.read_size.install(upstream, self.upstream)
        if not client_has_ended:
            client.resume_reading()
        client.write(response + from_upstream)
        if from_client:
            upstream.write(from_client)
        if client_has_ended:
            self.client.eof_received()
        # A stream whose write buffer is full already does not report that to its new owner.
        if client.get_write_buffer_size():
            self.client.pause_writing()
        if upstream.get_write_buffer_size():
            self.upstream.pause_writing()

    def closed(self) -> None:
        """Report the tunnel: both sides are gone."""
        services = self.services
        if services.admission is not None:
            services.admission.leave(self.client.transport)
        services.pool.closed(services.pool.target_pool(self._target))
        if self.record is not None and services.observer is not None:
            self._report(services.observer, self.record)
        self.client.detach()
        self.upstream.detach()
        services.registry.tunnels.discard(self)
        services.registry.changed()

    def moved(self) -> tuple[int, int]:
        """Return how many bytes were received from the client, and from the upstream."""
        return self.client.count, self.upstream.count

    def last_byte(self) -> float:
        """Return when the last byte was received, in seconds of the loop's clock."""
        return max(self.client.last_byte, self.upstream.last_byte)

    def note_activity(self) -> None:
        """Update the port's time of the last byte."""
        if self._port is not None:
            self._port.last_byte = max(self._port.last_byte, self.last_byte())

    def _report(self, observer: Observer, record: Record) -> None:
        received, sent = self.moved()
        record.ended = observer.clock()
        record.received += received
        record.sent += sent
        if self._port is not None:
            self._port.tunnel_ended(received, sent, self.last_byte())
            self._port = None
            observer.counts.received += received
            observer.counts.sent += sent
        if observer.wants(record.outcome):
            observer.take(record)

    def add_unread(self, unread: list[Unread]) -> None:
        """Add the sides that are not being read."""
        self.client.add_unread(unread)
        self.upstream.add_unread(unread)

    def abort(self) -> None:
        """Abort both sides."""
        self.client.transport.abort()
        self.upstream.transport.abort()

    def note_unsent(self) -> bool:
        """Count the bytes that wait for a side to read; return whether they have become fewer."""
        client = self.client.transport
        before = self._unsent
        self._unsent = client.get_write_buffer_size()
        self._unsent += self.upstream.transport.get_write_buffer_size()
        return self._unsent < before

    def deadline_passed(self) -> None:
        """Abort the tunnel, unless a slow side has read something."""
        if self.note_unsent():
            self.deadline = self.services.ticker.now + self.services.timeouts.tunnel
        else:
            self.abort()
