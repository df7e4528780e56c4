"""What the owner of an HTTP/2 connection is called with: requests, and what happens to them.

`downstream/` implements it. All calls come from within a call of `ServerConnection`, which the
owner may call again from them.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.http2_stream import Http2Stream


@mypyc_attr(allow_interpreted_subclasses=True)
class ConnectionHandler:
    """Takes what the client does.

    No call for a stream comes after `on_reset` or `on_closed` of that stream.
    """

    __slots__ = ()

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        """A request has come; `head` is that of HTTP/1.1, ready for the scan of heads.

        It is the head of the last request if `is_repeated`, as the same object.
        A body follows unless `stream.has_request_ended()`. With `stream.protocol`, `head` is that
        of an upgrade without its `sec-websocket-key`.
        """
        raise NotImplementedError

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None:
        """A request has come that gets a response with the status of `error`."""
        raise NotImplementedError

    def on_refused(self, stream_id: int, code: int, rule: str) -> None:
        """A request has come that is malformed or one too many; its stream was reset."""
        raise NotImplementedError

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        """Body bytes have come; they may be empty if they are the last.

        `ServerConnection.consume` has to be called for them, sooner or later.
        """
        raise NotImplementedError

    def on_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        """The request has ended with these field lines, without the blank line behind them."""
        raise NotImplementedError

    def on_reset(self, stream: Http2Stream, code: int, rule: str) -> None:
        """The stream is gone: the client has reset it, or has broken a rule, which is named."""
        raise NotImplementedError

    def on_closed(self, stream: Http2Stream) -> None:
        """Both sides have ended the stream, and the last frame is among those to be taken."""
        raise NotImplementedError

    def on_blocked(self, stream: Http2Stream) -> None:
        """Much waits to be sent: send no more until `on_unblocked`."""
        raise NotImplementedError

    def on_unblocked(self, stream: Http2Stream) -> None:
        """More may be sent again."""
        raise NotImplementedError

    def on_ping_answered(self, payload: bytes) -> None:
        """The client has answered a PING with these eight bytes."""
        raise NotImplementedError

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """The client opens no more streams."""
        raise NotImplementedError

    def on_connection_fault(self, code: int, rule: str) -> None:
        """The client has broken a rule; a GOAWAY is among the frames to be taken.

        The connection is to be closed after that. Its streams are gone, without a call for each,
        once this returns.
        """
        raise NotImplementedError
