"""A tunnel: joins two streams after CONNECT or an upgrade; opens, reports, and has a timeout.

Does not know how the tunnel was agreed on. Neighbour: `tunnel_side.py` passes on bytes, half-closes
and resets.
"""

from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Unread
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.tunnel_side import TunnelSide, TunnelSideOwner
from cmux_proxy.routing.target import Target


class Tunnel(TunnelSideOwner):
    """Both sides of a tunnel."""

    __slots__ = ("_port", "_services", "_target", "_unsent", "client", "record", "upstream")

    def __init__(
        self,
        services: Services,
        client: Stream,
        upstream: Stream,
        target: Target,
        record: Record | None,
    ) -> None:
        super().__init__()
        self._services = services
        self._target = target
        # None where nothing is logged.
        self.record = record
        self._port: PortActivity | None = None
        self.deadline = services.ticker.now + services.timeouts.tunnel
        # How many bytes waited for a side to read them when they were counted last.
        self._unsent = 0
        self.client = TunnelSide(services, self, FROM_CLIENT, client, upstream)
        self.upstream = TunnelSide(services, self, FROM_UPSTREAM, upstream, client)
        self.client.peer = self.upstream
        self.upstream.peer = self.client

    def open(
        self, response: bytes, from_client: bytes, from_upstream: bytes, client_has_ended: bool
    ) -> None:
        """Take over both streams; send the response and then the bytes that have arrived."""
        client = self.client.transport
        upstream = self.upstream.transport
        self._services.registry.tunnels.add(self)
        observer = self._services.observer
        if observer is not None and observer.is_counting:
            self._port = observer.ports.of(self._target)
            self._port.tunnels += 1
        self._services.read_size.install(client, self.client)
        self._services.read_size.install(upstream, self.upstream)
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
        services = self._services
        services.pool.closed(services.pool.target_pool(self._target))
        if self.record is not None and services.observer is not None:
            self._report(services.observer, self.record)
        self.client.detach()
        self.upstream.detach()
        services.registry.tunnels.discard(self)
        services.client_gone(self.client.transport)

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
        record.ended = observer.now()
        record.received += received
        record.sent += sent
        if self._port is not None:
            self._port.tunnel_ended(received, sent, self.last_byte())
            self._port = None
            observer.counts.received += received
            observer.counts.sent += sent
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
            self.deadline = self._services.ticker.now + self._services.timeouts.tunnel
        else:
            self.abort()
