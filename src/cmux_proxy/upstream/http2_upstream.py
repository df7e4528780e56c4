"""One HTTP/2 connection to an upstream, which many requests share, each in a slot.

To the pool, a slot is a connection: it is leased, offered to requests that wait, kept idle and
expired. As long as the upstream allows more streams, one idle slot is at hand. The connection ends
with its last slot.
Neighbours: `http2_slot.py` is one slot, `slot_set.py` has all of them, `http2_events.py` is what
the engine calls, `http2/client_connection.py` has frames and windows, `dial.py` makes it.
"""

from collections.abc import Callable
from typing import Final

from cmux_proxy.http2.client_connection import ClientConnection
from cmux_proxy.http2.error_codes import REFUSED_STREAM
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import Loop, Stream
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.frame_sender import FrameSender
from cmux_proxy.upstream.http2_events import Http2Events
from cmux_proxy.upstream.http2_settings import Http2Settings
from cmux_proxy.upstream.http2_slot import Http2Slot
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.slot_carrier import SlotCarrier
from cmux_proxy.upstream.slot_set import SlotSet
from cmux_proxy.upstream.stream_lost import StreamLost, broken_rule

# At most so many streams are open on one connection, also if the upstream allows more.
_MAX_STREAMS: Final = 100
# How an upstream responds that does not know the preface.
_HTTP_1: Final = b"HTTP/1"


class Http2Upstream(SlotCarrier):
    """A connection; `first` becomes its first slot, and has its target.

    Calls `on_open` before that, or `on_failed` with the rule that the upstream has broken, or with
    nothing if it has closed the connection.
    """

    __slots__ = (
        "_events", "_first", "_has_transport", "_http2", "_is_leaving", "_is_lost",
        "_is_replenishing", "_is_woken", "_on_failed", "_on_open", "_pool", "_read_size",
        "_scheme", "_sender", "_slots", "_target",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        pool: "Pool[UpstreamConnection]",
        read_size: ReadSize,
        settings: Http2Settings,
        first: UpstreamConnection,
        on_open: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self.loop = loop
        target = first.target
        self._target = target
        self._scheme = target.url_scheme().encode("ascii")
        self._pool = pool
        self._read_size = read_size
        # Until the upstream has greeted.
        self._first: UpstreamConnection | None = first
        self._on_open = on_open
        self._on_failed = on_failed
        self.chunk_rules = settings.chunk_rules
        self._events = Http2Events(self)
        self._http2 = ClientConnection(settings.engine(), self._events)
        self.core = self._http2.core
        self._sender = FrameSender(loop, self.core)
        self._slots = SlotSet(target, pool, read_size, first.address)
        self._has_transport = False
        self._is_replenishing = False
        self._is_woken = False
        # The upstream accepts no further streams.
        self._is_leaving = False
        self._is_lost = False

    # What the transport calls

    def connection_made(self, transport: Stream, /) -> None:
        """Greet the upstream."""
        self.transport = transport
        transport.set_write_buffer_limits(high=0)
        self._read_size.limit(transport, self)
        self._has_transport = True
        self._sender.transport = transport
        if self._is_lost:
            transport.abort()
        self._sender.send()

    def cancel(self) -> None:
        """Abort the connection before the upstream has greeted; nothing is reported."""
        self._first = None
        self._is_lost = True
        if self._has_transport:
            self.transport.abort()

    def _open(self, first: UpstreamConnection) -> None:
        """Open the first slot: the upstream has greeted, and said how many there may be."""
        self._first = None
        self._pool.target_pool(self._target).shared.append(self)
        self._on_open()
        self._slots.add(self, first)

    def data_received(self, data: bytes, /) -> None:
        """Pass bytes to the engine, and to slots what they lead to."""
        if not self._http2.is_greeted() and data.startswith(_HTTP_1):
            self._lose_all(StreamLost(rule="it speaks HTTP/1"))
            self.transport.abort()
            return
        core = self.core
        self._sender.is_held = True
        try:
            core.receive(data, self.loop.time())
            self._events.deliver()
        finally:
            self._sender.is_held = False
        if self._first is not None and self._http2.is_greeted() and not core.is_over:
            self._open(self._first)
        self._sender.send()
        self._sender.check_reading()
        self._replenish_later()

    def eof_received(self) -> bool:
        """Close: no more responses come."""
        return False

    def connection_lost(self, error: Exception | None, /) -> None:
        """Report the loss to all slots."""
        self._lose_all(error)

    def pause_writing(self) -> None:
        """Leave all frames with the engine."""
        self._sender.pause()

    def resume_writing(self) -> None:
        """Send again, and read again if too much has waited."""
        self._sender.resume()

    # What slots call

    def open_stream(self, slot: Http2Slot, head: bytes, is_last: bool) -> Http2Stream:
        """Send a request head on a new stream."""
        stream = self._http2.open_stream(head, self._scheme, is_last)
        stream.attachment = slot
        self._replenish_later()
        return stream

    def consume(self, stream: Http2Stream, size: int) -> None:
        """Give the upstream room for more."""
        self.core.consume(stream, size)
        self.flush()

    def reset(self, stream: Http2Stream, code: int) -> None:
        """Reset a stream."""
        stream.attachment = None
        self.core.reset(stream, code)
        self.flush()

    def flush(self) -> None:
        """Send what was written, at once or when the loop turns."""
        self._sender.flush()

    # The slots

    def slot_closed(self, slot: Http2Slot, was_used: bool) -> None:
        """Forget a slot; end the connection with the last, or have another at hand."""
        self._slots.discard(slot)
        if not self._is_leaving and (was_used or self._slots.has_busy()):
            self._replenish_later()
        elif self._slots.count() == 0:
            self._close()

    def _close(self) -> None:
        if not self._is_lost and not self.transport.is_closing():
            self._http2.leave()
            self._sender.send()
            self.transport.close()

    def _replenish_later(self) -> None:
        if not self._is_replenishing and self._first is None and not self._is_lost:
            self._is_replenishing = True
            self.loop.call_soon(self._replenish)

    def _replenish(self) -> None:
        """Offer slots to requests that wait; have one idle if none waits."""
        has_idle = self._slots.has_idle()
        may_go_on = self._is_woken or not has_idle
        while may_go_on and (has_idle or self.count_room() > 0):
            may_go_on = self._slots.offer(self, self.loop.time())
            has_idle = self._slots.has_idle()
        self._is_woken = False
        # Not before: the pool may refuse a slot, which closes it.
        self._is_replenishing = False
        if self._slots.count() == 0:
            self._close()

    def count_room(self) -> int:
        """Return how many more slots there may be."""
        is_over = self._is_leaving or self._is_lost or self.transport.is_closing()
        if is_over or not self._http2.has_ids():
            return 0
        return max(0, min(self._http2.max_streams(), _MAX_STREAMS) - self._slots.count())

    def wake(self) -> None:
        """Offer slots to requests that wait, when the loop turns."""
        self._is_woken = True
        self._replenish_later()

    def count_surplus(self) -> tuple[int, int]:
        """Return how many more slots than this connection there are, in all and idle ones."""
        return self._slots.count_surplus()

    # What the engine has seen

    def upstream_leaves(self, last_stream_id: int) -> None:
        """Open no more streams; those that the upstream has not seen may be sent elsewhere."""
        self._is_leaving = True
        for slot in self._slots.all():
            connection = slot.connection
            # It is closed in place of being released.
            connection.is_open = False
            stream = slot.stream
            if connection.owner is None:
                self._pool.discard(connection)
                connection.close()
            elif stream is not None and stream.id > last_stream_id:
                self.core.reset(stream, REFUSED_STREAM)
                self._events.lose(stream, StreamLost(True))
        if self._slots.count() == 0:
            self._close()

    def fail(self, rule: str) -> None:
        """The upstream has broken a rule of HTTP/2."""
        self._sender.send()
        self._lose_all(StreamLost(rule=rule))
        self.transport.close()

    def _lose_all(self, error: Exception | None) -> None:
        self._is_lost = True
        if self._first is not None:
            self._first = None
            self._on_failed(broken_rule(error))
        shared = self._pool.target_pool(self._target).shared
        if self in shared:
            shared.remove(self)
        for slot in self._slots.take_all():
            slot.lose_connection(error)
