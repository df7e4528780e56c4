"""A shared HTTP/2 connection as its slots and its events use it; `http2_upstream.py` implements it.

Does not know frames.
"""

from typing import TYPE_CHECKING

from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.server_connection import ServerConnection
from cmux_proxy.net.stream import Loop, Stream
from cmux_proxy.upstream.pool import Sharer

if TYPE_CHECKING:
    from cmux_proxy.upstream.http2_slot import Http2Slot


class SlotCarrier(Sharer):
    """A connection; `core` sends body bytes, and `flush` has to be called after it."""

    __slots__ = ("chunk_rules", "core", "loop", "transport")

    core: ServerConnection
    loop: Loop
    transport: Stream
    chunk_rules: ChunkRules

    def open_stream(self, slot: "Http2Slot", head: bytes, is_last: bool) -> Http2Stream:
        """Send a request head of HTTP/1.1 on a new stream."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what was written, at once or when the loop turns."""
        raise NotImplementedError

    def consume(self, stream: Http2Stream, size: int) -> None:
        """Give the upstream room for as many bytes as the owner has taken."""
        raise NotImplementedError

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream at once; nothing is reported for it any more."""
        raise NotImplementedError

    def slot_closed(self, slot: "Http2Slot", was_used: bool) -> None:
        """Forget a slot; `was_used` says that it has carried a request when it closed."""
        raise NotImplementedError

    def upstream_leaves(self, last_stream_id: int) -> None:
        """Open no more streams; those above `last_stream_id` were not processed."""
        raise NotImplementedError

    def fail(self, rule: str) -> None:
        """The upstream has broken a rule of HTTP/2."""
        raise NotImplementedError
