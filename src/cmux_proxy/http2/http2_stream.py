"""One stream as the engine sees it: its state, its windows, and what waits to be sent.

Only the engine changes a stream; the owner of the connection reads it, and has `attachment` for
itself. Neighbours: `stream_table.py` has all streams, `outgoing_frames.py` sends what waits.
"""

from typing import Final

# The states of RFC 9113 section 5.1, as a server has them. A stream is open, then one side has sent
# its END_STREAM, then both have, or one has sent RST_STREAM.
OPEN: Final = 0
REQUEST_ENDED: Final = 1  # half-closed (remote)
RESPONSE_ENDED: Final = 2  # half-closed (local)
CLOSED: Final = 3


# A part of a body, or of a frame. A view is used where a copy would cost more.
Piece = bytes | memoryview


class Http2Stream:
    """A stream.

    `id` is its number. `is_grpc` says that the media type of the request is that of gRPC,
    `is_tunnel` that the method is CONNECT; `protocol` is that of an extended CONNECT (RFC 8441).
    `content_left` is how much of the body that Content-Length announces has not arrived, -1 if
    there is none. `held` counts the bytes that have arrived and were not consumed. `pending_size`
    counts the body bytes that wait to be sent.
    """

    __slots__ = (
        "attachment", "content_left", "ends_after_pending", "held", "id", "is_answered",
        "is_blocked", "is_for_head", "is_grpc", "is_ready", "is_tunnel", "owed", "pending",
        "pending_size", "pending_start", "protocol", "receive_window", "send_window", "state",
        "trailers",
    )  # fmt: skip

    def __init__(self, stream_id: int, receive_window: int, send_window: int) -> None:
        self.id = stream_id
        self.state = OPEN
        self.attachment: object = None
        self.is_grpc = False
        self.is_tunnel = False
        # To an upstream: the final head has come; the method is HEAD.
        self.is_answered = False
        self.is_for_head = False
        self.protocol = b""
        self.content_left = -1
        # What the client may send, and what was consumed without an update of that.
        self.receive_window = receive_window
        self.owed = 0
        self.held = 0
        # What may be sent; negative after the client has made windows smaller.
        self.send_window = send_window
        # `pending_start` bytes of the first piece have been sent.
        self.pending: list[Piece] = []
        self.pending_start = 0
        self.pending_size = 0
        # The response ends when nothing is pending, with these trailers if there are any.
        self.ends_after_pending = False
        self.trailers = b""
        # Whether it is listed as having something to send.
        self.is_ready = False
        # Whether the owner was asked to send no more for now.
        self.is_blocked = False

    def has_request_ended(self) -> bool:
        """Return whether the client has sent its last byte, or the stream is closed."""
        return self.state & REQUEST_ENDED != 0

    def has_response_ended(self) -> bool:
        """Return whether the proxy has sent its last byte, or the stream is closed."""
        return self.state & RESPONSE_ENDED != 0

    def end_request(self) -> None:
        """The client has sent END_STREAM."""
        self.state |= REQUEST_ENDED

    def end_response(self) -> None:
        """The proxy has sent END_STREAM."""
        self.state |= RESPONSE_ENDED

    def is_writable(self) -> bool:
        """Return whether the response may go on."""
        return self.state & RESPONSE_ENDED == 0 and not self.ends_after_pending
